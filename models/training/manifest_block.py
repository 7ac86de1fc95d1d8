"""The built-in models' part of `models/manifest.toml`, between two marker comments.

Owns that part only: the rest of the file stays as it is, byte for byte. Needs no PyTorch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from agent.errors import ModelError
from agent.vision.manifest import MANIFEST_NAME, load_manifest

from .contract import (
    ALPHABET,
    DEFAULT_THRESHOLD,
    DETECTOR_SIZES,
    HEIGHT,
    LARGEST_TOTAL_BYTES,
    READER_NAME,
    SLOTS,
    WIDTH,
)

BEGIN = "# built-in models: written by `make train`, do not edit"
END = "# end of the built-in models"
ORIGIN = "trained by models/training of this repository; its card lies beside it"
LICENCE = "MIT"
INT8 = "-int8"
NO_TEMPERATURES: Mapping[str, float] = MappingProxyType({})


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_files(out: Path) -> list[Path]:
    """The ONNX files that are there, in order of preference: the square detector first; float32 before int8 for the
    detector, which loses more by it, and int8 before float32 for the reader.
    """
    names = [*DETECTOR_SIZES, f"{READER_NAME}{INT8}", READER_NAME, *(f"{name}{INT8}" for name in DETECTOR_SIZES)]
    return [path for name in names if (path := out / f"{name}.onnx").is_file()]


def entry(path: Path, *, temperature: float = 1.0) -> str:
    """What the manifest says of one ONNX file, as TOML; only a reader has a temperature."""
    base = path.stem.removesuffix(INT8)
    is_reader = base == READER_NAME
    width, height = (WIDTH, HEIGHT) if is_reader else DETECTOR_SIZES[base]
    lines = [
        f"[[{'reader' if is_reader else 'detector'}]]",
        f'name = "{path.stem}"',
        f'file = "{path.name}"',
        f"bytes = {path.stat().st_size}",
        f'sha256 = "{sha256(path)}"',
        f"input_wh = [{width}, {height}]",
        'colour = "rgb"',
    ]
    lines += (
        [f'alphabet = "{ALPHABET}"', f"slots = {SLOTS}", f"temperature = {temperature}"]
        if is_reader
        else [f"confidence = {DEFAULT_THRESHOLD}"]
    )
    lines += [f'licence = "{LICENCE}"', f'origin = "{ORIGIN}"', "built_in = true"]
    if is_reader:
        config = path.with_name(f"{READER_NAME}.yaml")
        lines += [
            "",
            "[reader.config]",
            f'file = "{config.name}"',
            f"bytes = {config.stat().st_size}",
            f'sha256 = "{sha256(config)}"',
        ]
    return "\n".join(lines)


def replace_block(manifest: str, block: str) -> str:
    """A manifest with its built-in part replaced, or put before the first entry when it has none yet.

    Raises:
        ValueError: Only one of the markers is there.
    """
    text = f"{BEGIN}\n\n{block}\n\n{END}\n"
    if (BEGIN in manifest) != (END in manifest):
        raise ValueError(f"the manifest has only one of its two marker lines: {BEGIN!r} and {END!r}")
    if BEGIN in manifest:
        before, rest = manifest.split(f"{BEGIN}\n", 1)
        return before + text + rest.split(f"{END}\n", 1)[1]
    at = manifest.find("[[")
    if at < 0:
        return f"{manifest.rstrip()}\n\n{text}"
    return f"{manifest[:at]}{text}\n{manifest[at:]}"


def write_manifest(out: Path, base: Path, temperatures: Mapping[str, float] = NO_TEMPERATURES) -> None:
    """Write the manifest beside the models.

    Args:
        out: Folder of the models; its manifest is replaced.
        base: A manifest whose other entries are kept, and the temperatures of readers of which nothing is said.
        temperatures: Of readers, by the names of their files without the suffix.

    Raises:
        ModelError: The agent would not take what was written.
    """
    path = out / MANIFEST_NAME
    known = {reader.name: reader.temperature for reader in load_manifest(base).reader} | dict(temperatures)
    block = "\n\n".join(entry(file, temperature=known.get(file.stem, 1.0)) for file in model_files(out))
    path.write_text(replace_block(base.read_text(), block))
    load_manifest(path)


def check_total(out: Path) -> int:
    """Bytes of all shipped files together.

    Raises:
        ModelError: They are more than may ship.
    """
    total = sum(path.stat().st_size for path in (*model_files(out), out / f"{READER_NAME}.yaml"))
    if total > LARGEST_TOTAL_BYTES:
        raise ModelError(f"{out}: the models have {total:,} bytes together, at most {LARGEST_TOTAL_BYTES:,} may ship")
    return total
