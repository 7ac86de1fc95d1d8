"""`device rotate`: whatever step it stops at, the identity works and the next run goes on."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from agent.cli.device import app
from agent.config.models import UploadConfig
from agent.disk.watch import LOOK_EVERY_S
from agent.errors import KeyFileError, PlatesealError, UsageError
from agent.keys import keyfiles
from agent.keys.identity import create_identity
from agent.keys.known_keys import KnownKeys
from agent.keys.rotation import RotationState, rotate_identity
from agent.keys.signing_key import SigningKeyFile
from agent.receiver.admission.enrolment import load_enrolment
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.layout import ReceiverLayout
from agent.unit.process.services import restart_stale
from agent.unit.upload.tls_files import TlsFiles
from agent.wire import cose
from agent.wire.rotation import parse_rotation, verify_rotation
from tests.fakes.clock import FakeClock
from tests.unit.config.test_load import GOOD


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """Return the folder of a new identity with the certificate of a receiver beside it."""
    init_receiver(tmp_path / "receiver")
    directory = create_identity(tmp_path / "id", name="cam-1").directory
    keyfiles.write_public(directory / "tls.pem", enrol(tmp_path / "receiver", directory / "enrolment.json").pem)
    return directory


def certify(identity: Path) -> None:
    """Carry the statement to the receiver, and its certificate back."""
    issued = enrol(identity.parent / "receiver", identity / "rotation.cose")
    keyfiles.replace_file(identity / "tls.pem", issued.pem, keyfiles.PUBLIC_MODE)


def key_id(identity: Path) -> bytes:
    """Return the id of the signing key in use."""
    return cose.ed25519_kid(keyfiles.load_ed25519_private(identity / "signing.key").public_key())


def content(identity: Path) -> dict[str, bytes]:
    """Return every file."""
    return {path.name: path.read_bytes() for path in identity.iterdir()}


def test_a_rotation_from_begin_to_end(identity: Path) -> None:
    """Begun, waiting for the certificate, finished; the statement's two signatures hold; one key each is left."""
    before = content(identity)
    old_key = keyfiles.load_ed25519_private(identity / "signing.key").public_key()
    begun = rotate_identity(identity)
    statement = parse_rotation((identity / "rotation.cose").read_bytes())
    verify_rotation(statement, old_key)
    assert (begun.state, begun.name, begun.old_key_id) == (RotationState.BEGUN, "cam-1", cose.ed25519_kid(old_key))
    assert begun.key_id == statement.new_key_id == key_id(identity) != begun.old_key_id
    assert content(identity)["tls.key"] == before["tls.key"]
    waiting = rotate_identity(identity)
    assert (waiting.state, waiting.key_id) == (RotationState.WAITING, begun.key_id)
    certify(identity)
    finished = rotate_identity(identity)
    assert (finished.state, finished.key_id, finished.old_key_id) == (RotationState.FINISHED, begun.key_id, None)
    assert content(identity).keys() == before.keys()
    assert content(identity)["tls.key"] != before["tls.key"]
    assert rotate_identity(identity).state is RotationState.BEGUN


def test_the_public_files_follow_the_new_keys(identity: Path) -> None:
    """enrolment.json and tls.csr are those of the new keys, so a new receiver could enrol them."""
    begun = rotate_identity(identity)
    enrolment = load_enrolment(identity / "enrolment.json")
    tls_key = keyfiles.load_p256_private(identity / "tls.key.next")
    assert (enrolment.device, enrolment.key_id, enrolment.tls_key) == ("cam-1", begun.key_id, tls_key.public_key())


def test_private_keys_stay_private_and_old_ones_are_overwritten(identity: Path) -> None:
    """Every private key has mode 0600; the old files' bytes, seen through a descriptor kept open, are zeros."""
    held = {name: os.open(identity / name, os.O_RDONLY) for name in ("signing.key", "tls.key")}
    try:
        rotate_identity(identity)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in identity.glob("*.key*")}
        assert modes == {"signing.key": 0o600, "tls.key": 0o600, "tls.key.next": 0o600}
        assert set(os.pread(held["signing.key"], 1000, 0)) == {0}
        certify(identity)
        rotate_identity(identity)
        assert set(os.pread(held["tls.key"], 1000, 0)) == {0}
    finally:
        for descriptor in held.values():
            os.close(descriptor)


class Cut(Exception):  # noqa: N818  not an error of ours: the process was killed
    """The process ended here."""


def _cut_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End the process before its `step`-th change of the disk."""
    changes = 0

    def wrap(real: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            nonlocal changes
            changes += 1
            if changes >= step:
                raise Cut
            return real(*arguments, **options)

        return wrapped

    monkeypatch.setattr(Path, "replace", wrap(Path.replace))
    monkeypatch.setattr(Path, "unlink", wrap(Path.unlink))
    monkeypatch.setattr(os, "pwrite", wrap(os.pwrite))
    monkeypatch.setattr(os, "fsync", wrap(os.fsync))


def _works(identity: Path, known: set[bytes], place: Path | None = None) -> None:
    """Check that daemons could start now: a signing key, and a TLS key for a certificate, as upload looks for them."""
    assert key_id(identity) in known
    settings = UploadConfig(
        url="https://localhost:1",
        ca=ReceiverLayout(identity.parent / "receiver").ca,
        certificate=place or identity / "tls.pem",
        key=identity / "tls.key",
        receiver_key=ReceiverLayout(identity.parent / "receiver").receipt_public,
    )
    TlsFiles(settings, FakeClock(), state_dir=identity.parent / "state")


def test_a_crash_while_both_files_get_their_places_leaves_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate has its place elsewhere, as on a unit of the package: upload can start after each step."""
    for step in range(1, 60):
        root = tmp_path / str(step)
        root.mkdir()
        identity, place = _packaged(root)
        known = {rotate_identity(identity, place=place).key_id}
        stick = _on_a_stick(identity)
        _cut_after(monkeypatch, step)
        try:
            rotate_identity(identity, place=place, given=stick)
            whole = True
        except Cut:
            whole = False
        monkeypatch.undo()
        _works(identity, known, place)
        if whole:
            break
        assert rotate_identity(identity, place=place, given=stick).state is RotationState.FINISHED
        _works(identity, known, place)
        assert not list(place.parent.glob("*.next"))
    else:
        pytest.fail("the run never came to its end")
    assert step >= 8


def _packaged(root: Path) -> tuple[Path, Path]:
    """Return the identity of an enrolled unit, and the place of its certificate, which is in another folder."""
    init_receiver(root / "receiver")
    (root / "etc").mkdir()
    identity, place = create_identity(root / "id", name="cam-1").directory, root / "etc" / "tls.pem"
    keyfiles.write_public(place, enrol(root / "receiver", identity / "enrolment.json").pem)
    return identity, place


def _on_a_stick(identity: Path) -> Path:
    """Return the new certificate, where it was carried to."""
    stick = identity.parent / "stick.pem"
    stick.write_bytes(enrol(identity.parent / "receiver", identity / "rotation.cose").pem)
    return stick


def test_the_certificate_goes_where_upload_takes_it_from(tmp_path: Path) -> None:
    """One place, whatever folder it was brought in; given once more it ends nothing and begins nothing."""
    identity, place = _packaged(tmp_path)
    rotate_identity(identity, place=place)
    stick = _on_a_stick(identity)
    assert rotate_identity(identity, place=place, given=stick).state is RotationState.FINISHED
    assert place.read_bytes() == stick.read_bytes()
    after = content(identity)
    assert rotate_identity(identity, place=place, given=stick).state is RotationState.FINISHED
    assert content(identity) == after
    assert not (identity / "rotation.cose").exists()


@pytest.mark.parametrize("put", ["place", "identity"])
def test_a_certificate_that_was_put_by_hand_is_found(tmp_path: Path, put: str) -> None:
    """Beside the keys or where upload takes it from: it ends in the one place."""
    identity, place = _packaged(tmp_path)
    rotate_identity(identity, place=place)
    pem = _on_a_stick(identity).read_bytes()
    keyfiles.replace_file(place if put == "place" else identity / "tls.pem", pem, keyfiles.PUBLIC_MODE)
    assert rotate_identity(identity, place=place).state is RotationState.FINISHED
    assert place.read_bytes() == pem
    _works(identity, {key_id(identity)}, place)


def test_a_certificate_of_another_key_is_not_taken(tmp_path: Path) -> None:
    """The old one, given by mistake: nothing is changed."""
    identity, place = _packaged(tmp_path)
    rotate_identity(identity, place=place)
    before = content(identity)
    with pytest.raises(KeyFileError, match=r"tls\.pem: .*certificate of another key than tls\.key\.next"):
        rotate_identity(identity, place=place, given=place)
    assert content(identity) == before


@pytest.mark.parametrize("restarts", [True, False])
def test_services_with_copies_of_the_old_keys_are_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """Only those whose copy is old; where systemd cannot, the command says so and does not say that it is finished."""
    identity, place = _packaged(tmp_path)
    copies = tmp_path / "run"
    for service, key in (("plateseal-capture", "signing.key"), ("plateseal-upload", "tls.key")):
        (copies / f"{service}.service").mkdir(parents=True)
        (copies / f"{service}.service" / key).write_bytes((identity / key).read_bytes())
    asked: list[str] = []

    def restart(service: str) -> bool:
        asked.append(service)
        return restarts

    monkeypatch.setattr(
        "agent.cli.device.rotate.restart_stale",
        lambda folder: restart_stale(folder, credentials=copies, restart=restart),
    )
    monkeypatch.setattr("agent.cli.device.rotate.IDENTITY", identity)
    config = tmp_path / "etc" / "unit.toml"
    config.write_text(
        GOOD.replace('"identity/signing.key"', '"credential:signing.key"').replace('"tls.key"', '"credential:tls.key"')
    )
    monkeypatch.setattr("agent.cli.device.rotate.PACKAGE_CONFIG", config)
    begun = CliRunner().invoke(app, ["rotate", "--dir", str(identity)], catch_exceptions=False)
    assert asked == ["plateseal-capture"]
    assert ("Restarted, to take the new keys: plateseal-capture." in begun.output) == restarts
    assert ("To do, now: systemctl restart plateseal-capture" in begun.output) != restarts
    stick = _on_a_stick(identity)
    done = CliRunner().invoke(app, ["rotate", "--dir", str(identity), "--certificate", str(stick)])
    assert asked[1:] == ["plateseal-capture", "plateseal-upload"]
    assert ("finished" in done.output, "systemctl restart plateseal-capture plateseal-upload" in done.output) == (
        restarts,
        not restarts,
    )
    assert place.read_bytes() == stick.read_bytes()


@pytest.mark.parametrize("options", [[], ["--dir", "a", "--config", "b"]])
def test_where_the_keys_are_is_said_once(options: list[str]) -> None:
    """By their folder or by the unit's configuration."""
    done = CliRunner().invoke(app, ["rotate", *options])
    assert isinstance(done.exception, UsageError)


def test_a_crash_at_any_step_is_continued_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before every single change of the disk, in both runs: the identity works, and the rotation ends well."""
    cuts = 0
    for run in ("begin", "finish"):
        for step in range(1, 60):
            root = tmp_path / f"{run}{step}"
            root.mkdir()
            init_receiver(root / "receiver")
            identity = create_identity(root / "id", name="cam-1").directory
            issued = enrol(root / "receiver", identity / "enrolment.json")
            keyfiles.write_public(identity / "tls.pem", issued.pem)
            known = {key_id(identity)}
            if run == "finish":
                known = {rotate_identity(identity).key_id}
                certify(identity)
            _cut_after(monkeypatch, step)
            try:
                rotate_identity(identity)
                whole = True
            except Cut:
                whole = False
            monkeypatch.undo()
            if whole:
                break
            cuts += 1
            statement = identity / "rotation.cose"
            if statement.exists():
                known.add(parse_rotation(statement.read_bytes()).new_key_id)
            _works(identity, known)
            state = rotate_identity(identity).state
            _works(identity, {key_id(identity)})
            if state is not RotationState.FINISHED and run == "begin":
                certify(identity)
                assert rotate_identity(identity).state is RotationState.FINISHED
        else:
            pytest.fail("the run never came to its end")
    assert cuts >= 20


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda d: (d / "enrolment.json").unlink(), "holds no whole device identity"),
        (lambda d: (d / "tls.csr").write_text("x"), r"tls\.csr: not a PEM certificate request"),
        (lambda d: (d / "rotation.cose").write_bytes(b"x"), r"rotation\.cose: .*remove it and run this again"),
        (lambda d: (d / "tls.key.next").unlink(), r"tls\.key\.next: is missing"),
        (lambda d: (d / "tls.pem").write_text("half"), r"tls\.pem: not a PEM certificate"),
        (lambda d: keyfiles.replace_file(d / "signing.key", _fresh(), 0o600), "is about other keys"),
        (lambda d: (d / "signing.key").chmod(0o644), "chmod 600"),
    ],
)
def test_what_a_person_must_mend_is_named(identity: Path, spoil: Callable[[Path], object], expected: str) -> None:
    """One line with the file and what to do; nothing is changed."""
    rotate_identity(identity)
    spoil(identity)
    before = content(identity)
    with pytest.raises(PlatesealError, match=expected) as caught:
        rotate_identity(identity)
    assert "\n" not in str(caught.value)
    assert content(identity) == before


def _fresh() -> bytes:
    return keyfiles.private_pem(Ed25519PrivateKey.generate())


def test_a_swap_that_lost_its_key_says_so(identity: Path) -> None:
    """The statement is there, the key it is about is another one: the old key goes on."""
    old = content(identity)["signing.key"]
    rotate_identity(identity)
    (identity / "signing.key").write_bytes(old)
    keyfiles.write_private(identity / "signing.key.next", Ed25519PrivateKey.generate())
    with pytest.raises(KeyFileError, match=r"signing\.key\.next: is not the key"):
        rotate_identity(identity)
    assert content(identity)["signing.key"] == old


def test_leftovers_of_a_run_before_its_statement_are_erased(identity: Path) -> None:
    """Keys that no statement is about are overwritten, not reused."""
    keyfiles.write_private(identity / "signing.key.next", Ed25519PrivateKey.generate())
    keyfiles.write_private(identity / "tls.key.next", ec.generate_private_key(ec.SECP256R1()))
    stale = content(identity)
    assert rotate_identity(identity).state is RotationState.BEGUN
    assert content(identity)["signing.key"] != stale["signing.key.next"]
    assert content(identity)["tls.key.next"] != stale["tls.key.next"]


def test_a_certificate_without_its_statement_is_finished_too(identity: Path) -> None:
    """Whoever removed rotation.cose early loses nothing: the key in use by then gets its place."""
    rotate_identity(identity)
    certify(identity)
    new_tls_key = content(identity)["tls.key.next"]
    (identity / "rotation.cose").unlink()
    assert rotate_identity(identity).state is RotationState.FINISHED
    assert content(identity)["tls.key"] == new_tls_key
    assert "tls.key.next" not in content(identity)


def test_a_link_in_a_keys_place_is_not_followed(identity: Path) -> None:
    """Neither erased nor overwritten is what it leads to."""
    precious = identity.parent / "precious"
    precious.write_bytes(b"precious")
    (identity / "signing.key.next").symlink_to(precious)
    with pytest.raises(KeyFileError, match=r"signing\.key\.next: cannot be erased"):
        rotate_identity(identity)
    assert precious.read_bytes() == b"precious"


def test_a_disk_that_refuses_changes_nothing(identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space for the new keys: the error says so, and the old identity is untouched."""
    before = content(identity)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(KeyFileError, match="No space left"):
        rotate_identity(identity)
    assert content(identity) == before


def test_the_command_says_what_is_next(identity: Path) -> None:
    """Begun: where the statement goes. Waiting: the same. Finished: nothing more to do."""
    runner = CliRunner()
    outputs = [runner.invoke(app, ["rotate", "--dir", str(identity)]).stdout for _ in range(2)]
    certify(identity)
    outputs.append(runner.invoke(app, ["rotate", "--dir", str(identity)]).stdout)
    assert all("receiver enrol RECEIVER_DIR rotation.cose" in text for text in outputs[:2])
    assert "reads wait on the unit" in outputs[0]
    assert "is not there yet" in outputs[1]
    assert "finished" in outputs[2]


def test_the_command_answers_a_program(identity: Path) -> None:
    """`--json`: the state, both key ids and the file to carry; null where there is none."""
    old = key_id(identity)
    begun = json.loads(CliRunner().invoke(app, ["rotate", "--dir", str(identity), "--json"]).stdout)
    assert (begun["state"], begun["old_key_id"], begun["name"]) == ("begun", old.hex(), "cam-1")
    assert Path(begun["rotation"]).is_file()
    certify(identity)
    finished = json.loads(CliRunner().invoke(app, ["rotate", "--dir", str(identity), "--json"]).stdout)
    assert (finished["state"], finished["old_key_id"], finished["rotation"]) == ("finished", None, None)
    assert finished["key_id"] == begun["key_id"]


def test_a_running_device_notices_its_new_key_once(identity: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next look after the swap returns the new key, later ones nothing."""
    clock = FakeClock()
    file = SigningKeyFile(identity / "signing.key", clock, known=KnownKeys(identity))
    begun = rotate_identity(identity)
    assert file.look() is None
    clock.advance(LOOK_EVERY_S)
    key = file.look()
    assert key is not None
    assert cose.ed25519_kid(key.public_key()) == begun.key_id
    clock.advance(LOOK_EVERY_S)
    assert file.look() is None
    assert caplog.records == []


def test_a_key_file_that_went_bad_changes_nothing(identity: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a file, another kind, open to others: the key in use goes on, with one line; so when it is good again."""
    clock = FakeClock()
    path = identity / "signing.key"
    file, good = SigningKeyFile(path, clock, known=KnownKeys(path.parent)), path.read_bytes()
    path.write_bytes(good[:40])
    with caplog.at_level("INFO"):
        for _ in range(3):
            clock.advance(LOOK_EVERY_S)
            assert file.look() is None
        path.write_bytes(good)
        clock.advance(LOOK_EVERY_S)
        assert file.look() is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "PRIVATE" not in caplog.text
    assert file.key.private_bytes_raw() == keyfiles.load_ed25519_private(path).private_bytes_raw()


def test_help_has_an_example() -> None:
    """`device rotate --help` shows how it is used."""
    assert "Example: plateseal device rotate" in " ".join(CliRunner().invoke(app, ["rotate", "--help"]).stdout.split())


@pytest.mark.needs("root")
def test_new_keys_belong_to_the_user_of_the_old_ones(identity: Path) -> None:
    """Run by root, the services must still be able to read their own keys."""
    service = 12345
    for name in ("signing.key", "tls.key"):
        os.chown(identity / name, service, service)
    rotate_identity(identity)
    owners = {name: (identity / name).stat().st_uid for name in ("signing.key", "tls.key.next")}
    assert set(owners.values()) == {service}
