"""The owner's keys on disk."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.keys import MadeKeys, load_private_keys, make_keys
from agent.custody.opener import open_envelope
from agent.envelope.suites import ContentCipher, KeyType
from agent.errors import KeyFileError, PlatesealError, UsageError
from agent.seal.chain import Chain
from agent.seal.keyfiles import load_ed25519_public
from agent.seal.keyring import KeyringBook
from agent.seal.sealer import Sealer
from tests.fakes.reads import NOON, SAMPLE

MIDNIGHT = NOON - timedelta(hours=12)
DAY = timedelta(days=1)


def make(directory: Path, **changes: object) -> MadeKeys:
    """Make two days of X25519 keys for the agency, or something else."""
    arguments = {
        "recipients": ["agency"],
        "key_type": KeyType.X25519,
        "start": MIDNIGHT,
        "epochs": 2,
        "epoch": DAY,
        **changes,
    }
    return make_keys(directory, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("key_type", list(KeyType))
def test_made_keys_seal_and_open(tmp_path: Path, key_type: KeyType) -> None:
    """The keyring file is what a device loads; the private files are what opens."""
    owner = tmp_path / "owner"
    make(owner, key_type=key_type)
    book = KeyringBook.load(owner / "keyring.cose", load_ed25519_public(owner / "owner.pub"))
    sealer = Sealer(signing_key=Ed25519PrivateKey.generate(), book=book, cipher=ContentCipher.AES_256_GCM)
    envelope = sealer.seal(SAMPLE, Chain().next)
    assert open_envelope(envelope, load_private_keys(owner)) == SAMPLE


def test_private_files_are_private_and_one_per_epoch(tmp_path: Path) -> None:
    """Mode 0600 in a folder of 0700; the file's name is the key id."""
    made = make(tmp_path / "owner", recipients=["agency", "auditor"])
    files = sorted((tmp_path / "owner" / "private").iterdir())
    assert [path.name for path in files] == sorted(f"{key.kid.hex()}.cose" for key in made.added)
    assert len(files) == 4
    for path in (*files, tmp_path / "owner" / "owner.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "owner").stat().st_mode) == 0o700


def test_more_epochs_are_added_to_the_same_owner(tmp_path: Path) -> None:
    """The serial grows, old keys stay, the owner key stays."""
    first = make(tmp_path / "owner")
    second = make(tmp_path / "owner", start=MIDNIGHT + 2 * DAY)
    assert (first.new_owner, second.new_owner) == (True, False)
    assert (first.keyring.serial, second.keyring.serial) == (1, 2)
    assert [key.valid_from for key in second.keyring.keys] == [MIDNIGHT + DAY * index for index in range(4)]


def test_the_private_file_of_an_x25519_key_is_a_cose_key(tmp_path: Path) -> None:
    """OKP with crv X25519, x and d, so that any COSE library can load it."""
    make(tmp_path / "owner", epochs=1)
    (path,) = (tmp_path / "owner" / "private").iterdir()
    key = cbor2.loads(path.read_bytes())
    assert (key[1], key[3], key[-1], len(key[-2]), len(key[-4])) == (1, 50, 4, 32, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipients": []}, "at least one"),
        ({"recipients": ["a", "a"]}, "once"),
        ({"epochs": 0}, "at least 1"),
        ({"epochs": 5000}, "at most 4096"),
        ({"epoch": timedelta(seconds=1)}, "from one minute"),
        ({"epoch": timedelta(days=1000)}, "from one minute"),
        ({"start": MIDNIGHT.replace(year=9999), "epochs": 400}, "after the year 9999"),
        ({"start": MIDNIGHT + DAY}, "begin later with --from"),
    ],
)
def test_a_wrong_request_is_refused_and_changes_nothing(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """Nothing to make, too much, or an epoch that has a key already."""
    make(tmp_path / "owner")
    before = sorted(path.name for path in (tmp_path / "owner").rglob("*"))
    with pytest.raises(UsageError, match=message):
        make(tmp_path / "owner", **changes)
    assert sorted(path.name for path in (tmp_path / "owner").rglob("*")) == before


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """A private key under another name, garbage, and a missing folder."""
    owner = tmp_path / "owner"
    make(owner, epochs=1)
    (path,) = (owner / "private").iterdir()
    other = path.with_name("ab" * 32 + ".cose")
    path.rename(other)
    with pytest.raises(KeyFileError, match="another key than its name"):
        load_private_keys(owner)
    other.write_bytes(b"\x00")
    with pytest.raises(KeyFileError, match="private key"):
        load_private_keys(owner)
    other.unlink()
    with pytest.raises(KeyFileError, match="no private key"):
        load_private_keys(owner)
    (owner / "keyring.cose").write_bytes(b"garbage")
    with pytest.raises(PlatesealError, match="keyring.cose"):
        make(owner, start=MIDNIGHT + 9 * DAY)
    with pytest.raises(KeyFileError, match="cannot be made"):
        make(owner / "owner.key" / "below")
