"""The unit's public signing keys on its own disk: written before use, found by id, bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.watch import LOOK_EVERY_S, RETRY_AFTER_S
from agent.errors import KeyFileError
from agent.keys import keyfiles
from agent.keys.known_keys import MAX_KEYS, SIGNING_KEYS, KnownKeys
from agent.keys.signing_key import SigningKeyFile
from agent.wire.cose import ed25519_kid
from tests.fakes.clock import FakeClock

KEY = Ed25519PrivateKey.generate().public_key()
KID = ed25519_kid(KEY)


def test_a_recorded_key_is_found_by_another_process(tmp_path: Path) -> None:
    """By its id, from the disk; under its id as the file's name."""
    known = KnownKeys(tmp_path)
    assert known.is_empty()
    known.record(KEY)
    (tmp_path / SIGNING_KEYS / f".{KID.hex()}.pem.1.new").write_bytes(b"of a start that was cut off")
    known.record(KEY)
    other = KnownKeys(tmp_path)
    assert not other.is_empty()
    assert other.find(KID) == KEY
    assert [path.name for path in (tmp_path / SIGNING_KEYS).iterdir()] == [f"{KID.hex()}.pem"]


def test_a_key_recorded_later_is_found_then(tmp_path: Path) -> None:
    """An unknown id is looked for again each time."""
    reader = KnownKeys(tmp_path)
    assert reader.find(KID) is None
    KnownKeys(tmp_path).record(KEY)
    assert reader.find(KID) == KEY


def test_the_newest_keys_are_kept(tmp_path: Path) -> None:
    """The one just recorded always, whatever the clock made of the files' times."""
    known = KnownKeys(tmp_path)
    keys = [Ed25519PrivateKey.generate().public_key() for _ in range(MAX_KEYS + 2)]
    for number, key in enumerate(keys):
        known.record(key)
        os.utime(tmp_path / SIGNING_KEYS / f"{ed25519_kid(key).hex()}.pem", (number + 10, number + 10))
    os.utime(tmp_path / SIGNING_KEYS / f"{ed25519_kid(keys[-1]).hex()}.pem", (1, 1))
    known.record(keys[-1])
    fresh = KnownKeys(tmp_path)
    found = [fresh.find(ed25519_kid(key)) is not None for key in keys]
    assert found == [False, False] + [True] * MAX_KEYS


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"garbage", "not a PEM public key"), (keyfiles.public_pem(Ed25519PrivateKey.generate().public_key()), "another")],
)
def test_a_damaged_record_is_named_and_not_taken_for_an_unknown_key(tmp_path: Path, content: bytes, says: str) -> None:
    """A backlog must not be set aside for one bad file."""
    known = KnownKeys(tmp_path)
    known.record(KEY)
    (tmp_path / SIGNING_KEYS / f"{KID.hex()}.pem").write_bytes(content)
    with pytest.raises(KeyFileError, match=says):
        KnownKeys(tmp_path).find(KID)


def place(path: Path) -> Ed25519PrivateKey:
    """Put a new private key in a file's place."""
    key = Ed25519PrivateKey.generate()
    keyfiles.replace_file(path, keyfiles.private_pem(key), keyfiles.PRIVATE_MODE)
    return key


def test_capture_records_each_key_before_it_gives_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and at a rotation; a new key that cannot be recorded is not used, and is tried again."""
    path, clock, reader = tmp_path / "signing.key", FakeClock(), KnownKeys(tmp_path)
    first = place(path)
    file = SigningKeyFile(path, clock, known=KnownKeys(tmp_path))
    assert reader.find(ed25519_kid(first.public_key())) == first.public_key()
    second = place(path)
    clock.advance(LOOK_EVERY_S)
    with monkeypatch.context() as disk:
        disk.setattr(keyfiles, "replace_file", refuse)
        assert file.look() is None
    assert file.key.public_key() == first.public_key()
    clock.advance(RETRY_AFTER_S)
    given = file.look()
    assert given is not None
    assert given.public_key() == second.public_key()
    assert reader.find(ed25519_kid(second.public_key())) == second.public_key()


def test_capture_does_not_start_without_a_record(tmp_path: Path) -> None:
    """Something else has the folder's name: one line that says so."""
    path = tmp_path / "signing.key"
    place(path)
    (tmp_path / SIGNING_KEYS).write_text("a file")
    with pytest.raises(KeyFileError, match=SIGNING_KEYS):
        SigningKeyFile(path, FakeClock(), known=KnownKeys(tmp_path))


def refuse(path: Path, *_: object) -> None:
    """Stand in for a full disk."""
    raise KeyFileError(f"{path}: cannot be written: No space left on device")
