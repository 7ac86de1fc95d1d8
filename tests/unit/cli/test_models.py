"""`plateseal models`: list, verify and fetch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.models import app
from agent.errors import ModelMismatchError, ModelMissingError, UsageError
from tests.toy_models import write_toy_models


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_list_tells_what_is_here_and_what_can_be_fetched(tmp_path: Path) -> None:
    """The built-in manifest, in its order, as JSON."""
    (tmp_path / "plate-detector-standin.onnx").touch()
    listed = {model["name"]: model for model in json.loads(_run("list", "--models", tmp_path, "--json").stdout)}
    assert listed["plate-detector-standin"]["present"]
    assert not listed["plate-detector-standin"]["fetchable"]
    assert listed["cct-xs-v2-global"]["fetchable"]
    assert not listed["cct-xs-v2-global"]["present"]
    assert listed["cct-xs-v2-global"]["licence"] == "MIT"


def test_list_is_a_table_for_people(tmp_path: Path) -> None:
    """Every model of the manifest has a row."""
    shown = _run("list", "--models", write_toy_models(tmp_path)).stdout
    assert "toy-detector" in shown
    assert "toy-reader" in shown


def test_verify_checks_what_is_here(tmp_path: Path) -> None:
    """All of them, when none is named."""
    directory = write_toy_models(tmp_path)
    result = _run("verify", "--models", directory)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["toy-detector: ok", "toy-reader: ok"]


def test_verify_fails_on_a_wrong_file_and_still_checks_the_rest(tmp_path: Path) -> None:
    """The answer has both; the error names the file."""
    directory = write_toy_models(tmp_path)
    (directory / "toy-detector.onnx").write_bytes(b"wrong")
    result = _run("verify", "--models", directory, "--json")
    assert [(row["name"], row["state"]) for row in json.loads(result.stdout)] == [
        ("toy-detector", "digest mismatch"),
        ("toy-reader", "ok"),
    ]
    assert isinstance(result.exception, ModelMismatchError)
    assert "toy-detector.onnx" in str(result.exception)


def test_verify_of_a_named_model_that_is_not_here_fails(tmp_path: Path) -> None:
    """Naming it says that it should be."""
    directory = write_toy_models(tmp_path)
    (directory / "toy-reader.yaml").unlink()
    result = _run("verify", "toy-reader", "--models", directory)
    assert result.stdout == "toy-reader: missing\n"
    assert isinstance(result.exception, ModelMissingError)


def test_verify_of_nothing_fails(tmp_path: Path) -> None:
    """No model is no proof."""
    assert isinstance(_run("verify", "--models", tmp_path).exception, ModelMissingError)
    assert isinstance(_run("verify", "nope", "--models", tmp_path).exception, ModelMissingError)


def test_fetch_of_a_model_that_is_there_needs_no_network(tmp_path: Path) -> None:
    """Without a URL it cannot be fetched; with the file in place nothing is asked."""
    directory = write_toy_models(tmp_path)
    manifest = directory / "manifest.toml"
    text = manifest.read_text()
    for name in ("toy-detector.onnx", "toy-reader.onnx", "toy-reader.yaml"):
        text = text.replace(f'file = "{name}"', f'file = "{name}"\nurl = "https://models.invalid/{name}"')
    manifest.write_text(text)
    result = _run("fetch", "toy-reader", "--models", directory, "--json")
    assert json.loads(result.stdout) == {
        "name": "toy-reader",
        "files": [str(directory / "toy-reader.onnx"), str(directory / "toy-reader.yaml")],
    }


@pytest.mark.parametrize(("name", "message"), [("nope", "these can be fetched"), ("toy-reader", "is not published")])
def test_fetch_of_what_cannot_be_fetched_is_refused(name: str, message: str, tmp_path: Path) -> None:
    """Before anything is asked of the network."""
    result = _run("fetch", name, "--models", write_toy_models(tmp_path))
    assert isinstance(result.exception, ModelMissingError)
    assert message in str(result.exception)


def test_fetch_into_a_file_is_a_usage_error(tmp_path: Path) -> None:
    """--models is a folder."""
    (tmp_path / "file").touch()
    assert isinstance(_run("fetch", "cct-xs-v2-global", "--models", tmp_path / "file").exception, UsageError)
