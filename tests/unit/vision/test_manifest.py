"""The manifest: its form, where files are found, and that every byte is checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.config.models import VisionConfig
from agent.errors import ModelError, ModelMismatchError, ModelMissingError
from agent.vision import build_vision
from agent.vision.manifest import built_in_manifest, load_manifest, open_library, user_models_dir
from tests.needs import SHARED
from tests.toy_models import WIDE_WH, toy_detector, toy_reader, write_toy_models

MOST_BUILT_IN_BYTES = 14_000_000
"""So that a clone and a wheel stay small; the model files together."""
DETECTOR = """
[[detector]]
name = "one"
file = "one.onnx"
sha256 = "{digest}"
input_wh = [384, 384]
colour = "rgb"
confidence = 0.5
licence = "MIT"
origin = "a test"
"""


def _manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    return path


def _detector(**changes: str) -> str:
    text = DETECTOR.format(digest="0" * 64)
    for old, new in changes.items():
        key = old.rstrip("_")
        text = "\n".join(new if line.startswith(f"{key} =") else line for line in text.splitlines())
    return text


BAD_MANIFESTS = [
    ("not TOML", "[[detector", "not TOML"),
    ("not UTF-8", "\udcff", "not TOML"),
    ("unknown section", "[[camera]]\nname = 'x'", r"camera: Extra inputs"),
    ("unknown key", _detector() + "\nspeed = 9", r"detector\.0\.speed: Extra inputs"),
    ("missing key", _detector(licence=""), r"detector\.0\.licence: Field required"),
    ("short digest", _detector(sha256='sha256 = "abc"'), r"detector\.0\.sha256"),
    ("upper-case digest", _detector(sha256=f'sha256 = "{"A" * 64}"'), r"detector\.0\.sha256"),
    ("path as a file", _detector(file='file = "../one.onnx"'), r"detector\.0\.file"),
    ("hidden file", _detector(file='file = ".one.onnx"'), r"detector\.0\.file"),
    ("plain http", _detector() + '\nurl = "http://host/one.onnx"', r"detector\.0\.url"),
    ("number as a string", _detector(confidence='confidence = "0.5"'), r"detector\.0\.confidence"),
    ("confidence of 2", _detector(confidence="confidence = 2.0"), r"detector\.0\.confidence"),
    ("BGR", _detector(colour='colour = "bgr"'), r"detector\.0\.colour"),
    ("three sides", _detector(input_wh="input_wh = [384, 384, 3]"), r"detector\.0\.input_wh"),
    ("name twice", _detector() + _detector(), "same name"),
    (
        "one file, two digests",
        _detector() + _detector(name='name = "two"', sha256=f'sha256 = "{"1" * 64}"'),
        "one.onnx is given two digests",
    ),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD_MANIFESTS], ids=[row[0] for row in BAD_MANIFESTS])
def test_a_wrong_manifest_is_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    """File, place and fault."""
    path = tmp_path / "manifest.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=message) as caught:
        load_manifest(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_faults_are_counted_not_listed(tmp_path: Path) -> None:
    """One line stays one line."""
    with pytest.raises(ModelError, match="and 5 more"):
        load_manifest(_manifest(tmp_path, "[[detector]]\n"))


def test_a_huge_manifest_is_not_parsed(tmp_path: Path) -> None:
    """The limit is on the bytes read."""
    with pytest.raises(ModelError, match="larger than"):
        load_manifest(_manifest(tmp_path, "#" * (1 << 20) + "\n"))


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    """It is missing, not wrong."""
    with pytest.raises(ModelMissingError, match="no such manifest"):
        load_manifest(tmp_path / "manifest.toml")


def test_the_built_in_manifest_is_valid_and_names_sources_and_licences() -> None:
    """What does not come along can be fetched over https; the stand-in alone can be neither."""
    manifest = load_manifest(built_in_manifest())
    others = [entry for entry in manifest.entries if not entry.built_in]
    assert [entry.name for entry in others if entry.url is None] == ["plate-detector-standin"]
    fetched = [entry for entry in manifest.reader if not entry.built_in]
    assert {entry.name for entry in fetched} == {"cct-xs-v2-global", "cct-s-v2-global", "cct-xs-v1-global"}
    assert all(entry.config.url is not None for entry in fetched)


def test_the_built_in_models_are_there_first_and_what_the_manifest_names() -> None:
    """Every file of them, by size and digest; they are the defaults."""
    library = open_library()
    built_in = [entry for entry in library.manifest.entries if entry.built_in]
    assert library.manifest.detector[0].built_in
    assert library.manifest.reader[0].built_in
    for entry in built_in:
        assert library.load(entry).digest.hex() == entry.sha256
        assert {library.locate(file) for file in entry.files} == {library.folders[0] / f.file for f in entry.files}


def test_the_built_in_models_are_small_and_the_only_ones_there() -> None:
    """All files together stay under 14 MB; no ONNX file lies beside the manifest that it does not call built in."""
    library = open_library()
    files = {file.file for entry in library.manifest.entries if entry.built_in for file in entry.files}
    assert files
    assert sum((library.folders[0] / file).stat().st_size for file in files) < MOST_BUILT_IN_BYTES
    assert {path.name for path in library.folders[0].glob("*.onnx")} <= files


def test_a_wide_detector_is_chosen_by_name(tmp_path: Path) -> None:
    """The manifest's first is the default whatever its shape; the configuration's name wins."""
    directory = write_toy_models(tmp_path)
    wide = toy_detector(WIDE_WH)
    (directory / "wide.onnx").write_bytes(wide)
    entry = _detector(
        name='name = "wide"',
        file='file = "wide.onnx"',
        sha256=f'sha256 = "{hashlib.sha256(wide).hexdigest()}"',
        input_wh=f"input_wh = [{WIDE_WH[0]}, {WIDE_WH[1]}]",
    )
    (directory / "manifest.toml").write_text((directory / "manifest.toml").read_text() + entry)
    assert build_vision(VisionConfig(models=directory)).detector_digest == hashlib.sha256(toy_detector()).digest()
    named = build_vision(VisionConfig(models=directory, detector="wide"))
    assert named.detector_digest == hashlib.sha256(wide).digest()


def test_the_first_model_that_is_there_is_chosen(tmp_path: Path) -> None:
    """Order is preference; a model without its YAML is not there."""
    directory = write_toy_models(tmp_path)
    library = open_library(directory)
    assert library.detector().name == "toy-detector"
    assert library.reader().name == "toy-reader"
    (directory / "toy-reader.yaml").unlink()
    with pytest.raises(ModelMissingError, match="no reader model in"):
        library.reader()


def test_a_folder_without_a_manifest_uses_the_built_in_one(tmp_path: Path) -> None:
    """Files of known models in any folder are found by their names, and only there."""
    (tmp_path / "plate-detector-standin.onnx").write_bytes(b"not it")
    library = open_library(tmp_path)
    assert library.detector().name == "plate-detector-standin"
    assert library.folders == (tmp_path,)


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    """A published one by `models fetch`, another by --models."""
    library = open_library(tmp_path)
    with pytest.raises(ModelMissingError, match="no detector model in .*`plateseal models fetch yolo-v9-t-384"):
        library.detector()
    with pytest.raises(ModelMissingError, match="not published; name its folder with --models DIR"):
        library.load(library.detector("plate-detector-standin"))
    with pytest.raises(ModelMissingError, match="`plateseal models fetch cct-xs-v1-global`"):
        library.load(library.reader("cct-xs-v1-global"))
    with pytest.raises(ModelMissingError, match="no detector is called 'nope'; there are .*yolo"):
        library.detector("nope")
    with pytest.raises(ModelMissingError, match="no model is called"):
        library.entry("nope")
    with pytest.raises(ModelMissingError, match="no such folder of models"):
        open_library(tmp_path / "none")


@pytest.mark.parametrize("name", ["toy-detector.onnx", "toy-reader.onnx", "toy-reader.yaml"])
@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_file_is_refused_by_name(name: str, damage: str, tmp_path: Path) -> None:
    """Model or YAML, cut or changed: nothing of it is loaded."""
    path = write_toy_models(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"truncated": bytes(content[: len(content) // 2]), "one bit": bytes(content), "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(ModelMismatchError, match=name.replace(".", r"\.") + r" has .* the manifest names"):
        build_vision(VisionConfig(models=tmp_path))


def test_the_bytes_checked_are_the_bytes_returned(tmp_path: Path) -> None:
    """The file may change after its check; what was checked does not."""
    library = open_library(write_toy_models(tmp_path))
    checked = library.load(library.detector())
    (tmp_path / "toy-detector.onnx").write_bytes(b"swapped")
    assert hashlib.sha256(checked.onnx).digest() == checked.digest
    assert checked.onnx == toy_detector()


def test_digests_reach_the_pipeline(tmp_path: Path) -> None:
    """They are sealed with every read."""
    pipeline = build_vision(VisionConfig(models=write_toy_models(tmp_path)))
    assert pipeline.detector_digest == hashlib.sha256(toy_detector()).digest()
    assert pipeline.reader_digest == hashlib.sha256(toy_reader()).digest()


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_DATA_HOME": "/data"}, Path("/data/plateseal/models")),
        ({}, Path.home() / ".local/share/plateseal/models"),
        ({"XDG_DATA_HOME": "relative"}, Path.home() / ".local/share/plateseal/models"),
    ],
)
def test_fetched_models_live_in_the_users_data_folder(environment: dict[str, str], folder: Path) -> None:
    """As the XDG specification says, a relative path is ignored."""
    assert user_models_dir(environment) == folder


@pytest.mark.needs("shared-models")
def test_the_shared_models_are_what_the_manifest_names() -> None:
    """Real files of the public reader and the stand-in detector load."""
    pipeline = build_vision(VisionConfig(models=SHARED / "models"))
    assert pipeline.detector_digest.hex().startswith("e2a4a12ee296")
    assert pipeline.reader_digest.hex().startswith("c1ae2ae031b1")
