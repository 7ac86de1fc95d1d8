"""Fetching a model: only https, only the published bytes, all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from agent.errors import ModelError, ModelMismatchError, ModelMissingError
from agent.vision.fetch import fetch_model
from agent.vision.manifest import Manifest

CONTENT = b"model bytes " * 1000
Handler = Callable[[httpx.Request], httpx.Response]


def _manifest(*, size_bytes: int | None = len(CONTENT), url: str | None = "https://models.test/one.onnx") -> Manifest:
    entry = {
        "name": "one",
        "file": "one.onnx",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "bytes": size_bytes,
        "url": url,
        "input_wh": [384, 384],
        "colour": "rgb",
        "confidence": 0.5,
        "licence": "MIT",
        "origin": "a test",
    }
    return Manifest.model_validate({"detector": [{key: value for key, value in entry.items() if value is not None}]})


def _fetch(into: Path, handler: Handler, manifest: Manifest | None = None) -> list[Path]:
    return fetch_model("one", into, manifest=manifest or _manifest(), transport=httpx.MockTransport(handler))


def _never(_: httpx.Request) -> httpx.Response:
    raise AssertionError("nothing may be asked of the network")


def _good(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=CONTENT)


def test_the_right_bytes_are_kept(tmp_path: Path) -> None:
    """In a folder made for them, readable, with nothing else beside them."""
    into = tmp_path / "new" / "models"
    seen: list[tuple[str, int, int | None]] = []
    paths = fetch_model(
        "one",
        into,
        manifest=_manifest(),
        transport=httpx.MockTransport(_good),
        progress=lambda *step: seen.append(step),
    )
    assert paths == [into / "one.onnx"]
    assert paths[0].read_bytes() == CONTENT
    assert [path.name for path in into.iterdir()] == ["one.onnx"]
    assert seen[-1] == ("one.onnx", len(CONTENT), len(CONTENT))


def test_a_right_file_is_not_fetched_again(tmp_path: Path) -> None:
    """The network is not asked."""
    (tmp_path / "one.onnx").write_bytes(CONTENT)
    assert _fetch(tmp_path, _never) == [tmp_path / "one.onnx"]


def test_a_wrong_file_is_replaced(tmp_path: Path) -> None:
    """A truncated download of yesterday is not kept."""
    (tmp_path / "one.onnx").write_bytes(CONTENT[:100])
    _fetch(tmp_path, _good)
    assert (tmp_path / "one.onnx").read_bytes() == CONTENT


def test_redirects_over_https_are_followed(tmp_path: Path) -> None:
    """GitHub's release downloads redirect, also with a relative address."""
    hops = {"/one.onnx": "https://other.test/two", "/two": "/three"}

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path in hops:
            return httpx.Response(302, headers={"Location": hops[request.url.path]})
        assert str(request.url) == "https://other.test/three"
        return _good(request)

    assert _fetch(tmp_path, serve)[0].read_bytes() == CONTENT


def _refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def _slow(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("")


FAILURES: list[tuple[str, Handler, type[ModelError], str]] = [
    ("one bit", lambda _: httpx.Response(200, content=CONTENT[:-1] + b"!"), ModelMismatchError, "SHA-256"),
    ("short", lambda _: httpx.Response(200, content=CONTENT[:-1]), ModelMismatchError, "11999 bytes came"),
    ("long", lambda _: httpx.Response(200, content=CONTENT * 2), ModelMismatchError, "more than 12000 bytes"),
    ("404", lambda _: httpx.Response(404), ModelError, "models.test answered 404"),
    (
        "to plain http",
        lambda _: httpx.Response(302, headers={"Location": "http://models.test/one.onnx"}),
        ModelError,
        "only https is allowed",
    ),
    (
        "to a file",
        lambda _: httpx.Response(302, headers={"Location": "file:///etc/passwd"}),
        ModelError,
        "only https is allowed",
    ),
    (
        "in circles",
        lambda _: httpx.Response(302, headers={"Location": "https://models.test/one.onnx"}),
        ModelError,
        "more than 5 redirects",
    ),
    ("no connection", _refuse, ModelError, "cannot be fetched from models.test: connection refused"),
    ("timeout", _slow, ModelError, "cannot be fetched from models.test: ReadTimeout"),
]


@pytest.mark.parametrize(
    ("handler", "error", "message"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_a_failed_fetch_keeps_nothing(handler: Handler, error: type[ModelError], message: str, tmp_path: Path) -> None:
    """No file under the right name, no temporary one; what was there before stays."""
    (tmp_path / "one.onnx").write_bytes(b"older")
    with pytest.raises(error, match=message):
        _fetch(tmp_path, handler)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("one.onnx", b"older")]


def test_without_a_published_size_the_digest_still_decides(tmp_path: Path) -> None:
    """The size is a second check, not the first."""
    manifest = _manifest(size_bytes=None)
    assert _fetch(tmp_path, _good, manifest)[0].read_bytes() == CONTENT
    with pytest.raises(ModelMismatchError):
        _fetch(tmp_path / "b", lambda _: httpx.Response(200, content=b"x"), manifest)


def test_unknown_and_unpublished_models_are_refused(tmp_path: Path) -> None:
    """Before anything is asked of the network."""
    with pytest.raises(ModelMissingError, match="these can be fetched: one"):
        fetch_model("two", tmp_path, manifest=_manifest(), transport=httpx.MockTransport(_never))
    with pytest.raises(ModelMissingError, match="is not published"):
        _fetch(tmp_path, _never, _manifest(url=None))


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    """The disk's own word for it, and the place."""
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be made"):
        _fetch(tmp_path / "file" / "models", _good)
