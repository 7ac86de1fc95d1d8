"""`plateseal config`: check, show, schema, sign and verify."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.config import app
from agent.config.bundle import sign_bundle
from agent.config.check import check_table, on_any_machine
from agent.config.fleet import load_fleet
from agent.config.models import UnitConfig
from agent.custody.owner import unlock_owner
from agent.errors import BundleVerificationError, ConfigError, UsageError
from tests.fakes.fleet import write_fleet
from tests.fakes.owner import PASSPHRASE, make_owner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a fleet and an owner's directory."""
    write_fleet(tmp_path / "config", sites=2, cameras=3)
    make_owner(tmp_path / "owner")
    (tmp_path / "passphrase").touch(mode=0o600)
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    """Run one command in a folder; the fleet is `config` there."""
    words = [word.replace("@", f"{folder}/") for word in arguments]
    return CliRunner().invoke(app, words)


def sign(folder: Path, *arguments: str, serial: int = 7) -> Result:
    """Sign for some cameras."""
    key = ("--key", "@owner/owner.key", "--passphrase-file", "@passphrase")
    return run(folder, "sign", *arguments, *key, "--serial", str(serial), "--out", "@out", "--dir", "@config")


def test_check_prints_a_table_and_exits_0(folder: Path) -> None:
    """A row for each unit."""
    done = run(folder, "check", "@config")
    assert done.exit_code == 0, done.output
    assert done.output.count("ok") == 3
    assert "site-1" in done.output
    assert "192.0.0.2" in done.output


def test_check_names_every_mistake(folder: Path) -> None:
    """With a count at the end, and the rest of the fleet in the table."""
    path = folder / "config" / "cameras" / "camera-1.toml"
    path.write_text(path.read_text() + "no_such = 1\n")
    done = run(folder, "check", "@config", "--json")
    assert isinstance(done.exception, ConfigError)
    assert "camera-1.toml:7: vision.no_such: no such setting" in str(done.exception)
    assert str(done.exception).endswith("config: 1 mistake")
    answer = json.loads(done.stdout)
    assert [unit["ok"] for unit in answer["units"]] == [True, False, True]
    assert answer["problems"][0]["line"] == 7


def test_show_says_where_each_value_comes_from(folder: Path) -> None:
    """As a table and as JSON."""
    assert "config/fleet.toml:13" in run(folder, "show", "camera-1", "--dir", "@config").output
    answer = json.loads(run(folder, "show", "camera-1", "--dir", "@config", "--json").stdout)
    assert answer["settings"]["upload.max_bytes_per_s"]["value"] == 50_001
    assert answer["settings"]["upload.max_bytes_per_s"]["file"].endswith("sites/site-1.toml")
    assert answer["settings"]["upload.poll_s"] == {"value": 0.5, "file": None, "line": None}


def test_show_writes_the_file_that_a_unit_starts_with(folder: Path) -> None:
    """Which is a whole configuration."""
    done = run(folder, "show", "camera-1", "--dir", "@config", "--toml")
    unit, problems = check_table(tomllib.loads(done.stdout), lambda _: (Path("x"), None), on_any_machine)
    assert problems == []
    assert unit is not None
    assert unit.camera_id == "camera-1"


def test_show_refuses_a_unit_with_mistakes(folder: Path) -> None:
    """Also those of the layers below it."""
    path = folder / "config" / "sites" / "site-1.toml"
    text = path.read_text()
    path.write_text("= not TOML")
    assert "site-1.toml: the file: not TOML" in str(run(folder, "show", "camera-1", "--dir", "@config").exception)
    path.write_text(text + "no_such = 1\n")
    done = run(folder, "show", "camera-1", "--dir", "@config")
    assert isinstance(done.exception, ConfigError)
    assert "site-1.toml:4: upload.no_such" in str(done.exception)
    assert run(folder, "show", "camera-0", "--dir", "@config").exit_code == 0


@pytest.mark.parametrize("layer", ["fleet", "site", "camera", "unit"])
def test_a_schema_describes_every_setting_of_its_layer(folder: Path, layer: str) -> None:
    """With the words of the models; nothing is required but in a unit's own file."""
    schema = json.loads(run(folder, "schema", layer).stdout)
    sections = {"": schema, **schema["$defs"]}
    for name, section in sections.items():
        for key, setting in section.get("properties", {}).items():
            assert setting.get("description") or "$ref" in str(setting), (name, key)
            if "properties" in section and "$ref" not in str(setting):
                assert setting["description"], (name, key)
        if layer != "unit" and name != "CameraConfig":
            assert "required" not in section, name
    assert ("camera_id" in schema["properties"]) == (layer in ("camera", "unit"))
    assert set(schema["properties"]) <= set(UnitConfig.model_fields)


def test_all_schemas_are_written_at_once(folder: Path) -> None:
    """For the editor's settings."""
    assert run(folder, "schema", "--out", "@schema").exit_code == 0
    assert sorted(path.name for path in (folder / "schema").iterdir()) == [
        "camera.json",
        "fleet.json",
        "site.json",
        "unit.json",
    ]
    assert isinstance(run(folder, "schema").exception, UsageError)


def test_a_signed_bundle_is_verified(folder: Path) -> None:
    """By the owner's public key, for its camera."""
    assert sign(folder, "camera-1").exit_code == 0
    done = run(folder, "verify", "@out/camera-1.bundle", "--key", "@owner/owner.pub", "--camera", "camera-1", "--json")
    assert json.loads(done.stdout) == {"camera": "camera-1", "serial": 7, "ok": True}


def test_a_whole_fleet_is_signed_at_once(folder: Path) -> None:
    """With one unlocking of the key."""
    assert sign(folder, "--all").exit_code == 0
    assert len(list((folder / "out").iterdir())) == 3
    assert isinstance(sign(folder, "camera-1", "--all").exception, UsageError)
    assert isinstance(sign(folder).exception, UsageError)


def test_an_older_serial_replaces_nothing(folder: Path) -> None:
    """Units that have the newer one would refuse it."""
    sign(folder, "--all", serial=7)
    before = (folder / "out" / "camera-0.bundle").read_bytes()
    done = sign(folder, "camera-0", serial=7)
    assert "has serial 7 already" in str(done.exception)
    assert (folder / "out" / "camera-0.bundle").read_bytes() == before
    assert sign(folder, "camera-0", serial=8).exit_code == 0


def test_a_bundle_of_another_key_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    """Nobody knows which serial its units have tried."""
    make_owner(tmp_path / "stranger")
    sign(folder, "camera-0")
    key = ("--key", "@stranger/owner.key", "--passphrase-file", "@passphrase")
    done = run(folder, "sign", "camera-0", *key, "--serial", "8", "--out", "@out", "--dir", "@config")
    assert isinstance(done.exception, UsageError)
    assert "camera-0.bundle: is there already and not signed by --key" in str(done.exception)


def test_nothing_but_the_owners_key_signs(folder: Path) -> None:
    """Its public half lies beside it, and is a slip of a word away; a serial that is none makes no folder."""
    key = ("--key", "@owner/owner.pub", "--passphrase-file", "@passphrase")
    done = run(folder, "sign", "--all", *key, "--serial", "7", "--out", "@out", "--dir", "@config")
    assert "owner.pub: the owner's signing key is called owner.key" in str(done.exception)
    assert "serial 0: from 1 to" in str(sign(folder, "--all", serial=0).exception)
    assert not (folder / "out").exists()


def test_a_unit_with_mistakes_is_not_signed(folder: Path) -> None:
    """Nor is any other of the same call."""
    path = folder / "config" / "cameras" / "camera-1.toml"
    path.write_text(path.read_text() + "no_such = 1\n")
    assert isinstance(sign(folder, "--all").exception, ConfigError)
    assert not (folder / "out").exists()
    assert sign(folder, "camera-0").exit_code == 0


def test_verify_explains_each_refusal_in_one_line(folder: Path, tmp_path: Path) -> None:
    """Another camera, another key, a changed byte, a lower serial."""
    sign(folder, "camera-1")
    make_owner(tmp_path / "stranger")
    bundle = ("verify", "@out/camera-1.bundle", "--key")
    refusals = [
        run(folder, *bundle, "@owner/owner.pub", "--camera", "camera-2"),
        run(folder, *bundle, "@stranger/owner.pub"),
    ]
    (folder / "state").mkdir()
    (folder / "state" / "config-capture.json").write_text('{"newest": 7}')
    refusals.append(run(folder, *bundle, "@owner/owner.pub", "--state-dir", "@state"))
    path = folder / "out" / "camera-1.bundle"
    path.write_bytes(path.read_bytes().replace(b"serial = 7", b"serial = 8"))
    refusals.append(run(folder, *bundle, "@owner/owner.pub"))
    words = ["this unit is camera-2", "this unit's owner is key", "not above 7", "wrong signature"]
    for refusal, word in zip(refusals, words, strict=True):
        assert isinstance(refusal.exception, BundleVerificationError)
        assert word in str(refusal.exception)
        assert str(refusal.exception).startswith(str(path))
        assert "\n" not in str(refusal.exception)


def test_verify_explains_what_a_newer_version_would_take(folder: Path) -> None:
    """A setting that this version does not know, in one line; a unit's folder that is not there proves no serial."""
    key = unlock_owner(folder / "owner", PASSPHRASE).signing_key
    unit = load_fleet(folder / "config").unit("camera-1")
    path = folder / "new.bundle"
    path.write_bytes(sign_bundle({**unit.table, "radar": {"range_m": 30}}, camera="camera-1", serial=9, key=key))
    done = run(folder, "verify", "@new.bundle", "--key", "@owner/owner.pub")
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith(f"{path}: radar: no such setting")
    sign(folder, "camera-1")
    done = run(folder, "verify", "@out/camera-1.bundle", "--key", "@owner/owner.pub", "--state-dir", "@nowhere")
    assert "nowhere: no such folder" in str(done.exception)


def test_plates_lists_places_and_the_formats_of_one(folder: Path) -> None:
    """As tables and as JSON; a user's file counts, and an unknown place is said in one line."""
    places = run(folder, "plates")
    assert "Spain" in places.output
    assert "US-TX" in places.output
    assert "ES-2000" in run(folder, "plates", "ES").output
    (first, *_) = json.loads(run(folder, "plates", "ES", "--json").output)
    assert (first["name"], first["place_name"], first["vanity"]) == ("ES-2000", "Spain", False)
    (folder / "my.toml").write_text("[ES]\nformat = [{ name = 'ES-2000', pattern = '9{7}', period = 'ours' }]\n")
    (own, *_) = json.loads(run(folder, "plates", "ES", "--formats", "@my.toml", "--json").output)
    assert (own["name"], own["pattern"], own["source"]) == ("ES-2000", "9{7}", None)
    refused = run(folder, "plates", "ES", "XX")
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception).startswith("no formats of 'XX' are known; there are AD")
