"""Gets a published model once, over HTTPS, against its published digest.

Owns: the download's limits and the order of steps: temporary file in the same folder, check, sync, rename, sync of the
folder. So a power cut leaves the whole file or none, and a wrong file never has the right name. The only module of the
vision side that uses the network; no daemon imports it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from agent.disk.durable import rename_durably, sync_content
from agent.errors import ModelError, ModelMismatchError, ModelMissingError
from agent.vision.manifest import MAX_MODEL_BYTES, AnyEntry, Manifest, ModelFile, check_file, is_fetchable

MAX_REDIRECTS: Final = 5
"""GitHub's release downloads redirect once."""
TIMEOUT_S: Final = 30.0
"""Longest silence of the server, seconds."""
_CHUNK_BYTES: Final = 1 << 16

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that came and the bytes expected, if known."""


def fetch_model(
    name: str,
    into: Path,
    *,
    manifest: Manifest,
    transport: httpx.BaseTransport | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download every file of a model; one that is there and right is left alone.

    Args:
        name: Of a model in the manifest.
        into: Folder, made if it is missing.
        manifest: Says where each file may be had and what it must be.
        transport: Carries the requests; None for the network.
        progress: Told about each chunk.

    Returns:
        The model's files in `into`.

    Raises:
        ModelMissingError: No such model, or it is not published.
        ModelMismatchError: Other bytes came than the manifest names; nothing was kept.
        ModelError: The download or the disk failed; nothing was kept.
    """
    entry = _find(name, manifest)
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{into}: cannot be made: {error.strerror}") from error
    with httpx.Client(transport=transport, timeout=TIMEOUT_S, follow_redirects=False) as client:
        return [_fetch_file(client, name, file, into, progress) for file in entry.files]


def _find(name: str, manifest: Manifest) -> AnyEntry:
    for entry in manifest.entries:
        if entry.name == name:
            if not is_fetchable(entry):
                raise ModelMissingError(
                    f"model {name} is not published ({entry.origin}); name its folder with --models"
                )
            return entry
    fetchable = ", ".join(entry.name for entry in manifest.entries if is_fetchable(entry))
    raise ModelMissingError(f"no model is called {name!r:.80}; these can be fetched: {fetchable or 'none'}")


def _fetch_file(client: httpx.Client, name: str, file: ModelFile, into: Path, progress: Progress | None) -> Path:
    target = into / file.file
    if _is_right(target, file):
        return target
    where = f"model {name}: {file.file}"
    try:
        descriptor, temporary_name = tempfile.mkstemp(dir=into, prefix=f".{file.file}.", suffix=".part")
        temporary = Path(temporary_name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                _download(client, file, stream, where=where, progress=progress)
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)  # models are public; mkstemp makes them private
                sync_content(stream.fileno())
            rename_durably(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{where}: cannot be written to {into}: {error.strerror}") from error
    return target


def _download(
    client: httpx.Client, file: ModelFile, stream: BinaryIO, *, where: str, progress: Progress | None
) -> None:
    """Copy one file into `stream` and check it.

    Raises:
        ModelMismatchError: Other bytes came.
        ModelError: The download failed.
    """
    limit = file.size_bytes or MAX_MODEL_BYTES
    sha256, came = hashlib.sha256(), 0
    url = httpx.URL(file.url or "")
    try:
        for _ in range(MAX_REDIRECTS + 1):
            _only_https(url, where=where)
            with client.stream("GET", url) as response:
                if response.has_redirect_location:
                    url = response.url.join(response.headers["Location"])
                    continue
                if response.status_code != httpx.codes.OK:
                    raise ModelError(f"{where}: {url.host} answered {response.status_code}")
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    came += len(chunk)
                    if came > limit:
                        raise ModelMismatchError(f"{where}: more than {limit} bytes came from {url.host}; nothing kept")
                    sha256.update(chunk)
                    stream.write(chunk)
                    if progress is not None:
                        progress(file.file, came, file.size_bytes)
            _check_download(file, came, sha256.hexdigest(), where=f"{where} from {url.host}")
            return
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelError(f"{where}: cannot be fetched from {url.host}: {str(error) or type(error).__name__}") from error
    raise ModelError(f"{where}: more than {MAX_REDIRECTS} redirects")


def _only_https(url: httpx.URL, *, where: str) -> None:
    if url.scheme != "https":
        raise ModelError(f"{where}: the server sends on to {url.scheme}://{url.host}; only https is allowed")


def _check_download(file: ModelFile, came: int, found: str, *, where: str) -> None:
    if file.size_bytes is not None and came != file.size_bytes:
        raise ModelMismatchError(f"{where}: {came} bytes came, the manifest names {file.size_bytes}; nothing kept")
    if found != file.sha256:
        raise ModelMismatchError(
            f"{where}: SHA-256 {found[:12]}.. came ({came} bytes), not {file.sha256[:12]}..; nothing kept"
        )


def _is_right(path: Path, file: ModelFile) -> bool:
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            return False
        check_file(file, path.read_bytes(), where=str(path))
    except (OSError, ModelMismatchError):
        return False
    return True
