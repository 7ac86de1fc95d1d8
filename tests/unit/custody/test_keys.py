"""The owner's keys on disk."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.custody import locked as locked_module
from agent.custody.audit import read_audit
from agent.custody.audit_entry import Action
from agent.custody.keys import load_private_keys
from agent.custody.locked import ScryptParameters, is_locked, parse_locked
from agent.custody.opener import open_envelope
from agent.custody.owner import unlock_owner
from agent.errors import AuditVerificationError, KeyFileError, PlatesealError, UsageError
from agent.keys.keyfiles import load_ed25519_public
from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.wire.suites import ContentCipher, KeyType
from tests.fakes.owner import DAY, MIDNIGHT, PASSPHRASE, QUICK, make_owner, make_owner_keys
from tests.fakes.reads import SAMPLE


def files_of(owner: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(owner)): path.read_bytes() for path in owner.rglob("*") if path.is_file()}


@pytest.mark.parametrize("passphrase", [PASSPHRASE, None], ids=["passphrase", "none"])
@pytest.mark.parametrize("key_type", list(KeyType))
def test_made_keys_seal_and_open(tmp_path: Path, key_type: KeyType, passphrase: bytes | None) -> None:
    """The keyring file is what a device loads; the private files are what opens, in either form."""
    owner = tmp_path / "owner"
    make_owner_keys(owner, key_type=key_type, passphrase=passphrase)
    book = KeyringBook.load(owner / "keyring.cose", load_ed25519_public(owner / "owner.pub"))
    sealer = Sealer(signing_key=Ed25519PrivateKey.generate(), book=book, cipher=ContentCipher.AES_256_GCM)
    envelope = sealer.seal(SAMPLE, Chain().next)
    assert open_envelope(envelope, load_private_keys(owner, passphrase)) == SAMPLE


def test_private_files_are_private_and_one_per_epoch(tmp_path: Path) -> None:
    """Mode 0600 in a folder of 0700; the file's name is the key id."""
    made = make_owner_keys(tmp_path / "owner", recipients=["agency", "auditor"])
    files = sorted((tmp_path / "owner" / "private").iterdir())
    assert [path.name for path in files] == sorted(f"{key.kid.hex()}.cose" for key in made.added)
    assert len(files) == 4
    for path in (*files, tmp_path / "owner" / "owner.key", tmp_path / "owner" / "audit.cose"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "owner").stat().st_mode) == 0o700


def test_no_private_key_lies_open_under_a_passphrase(tmp_path: Path) -> None:
    """No file of the owner holds the raw bytes of any private key, nor the passphrase."""
    owner = make_owner(tmp_path / "owner", key_type=KeyType.HYBRID)
    secrets = [key.raw for key in owner.private_keys().values()]
    secrets += [owner.signing_key.private_bytes_raw(), PASSPHRASE]
    for name, data in files_of(tmp_path / "owner").items():
        assert not any(secret in data for secret in secrets), name


def test_files_of_one_owner_share_salt_and_cost_but_no_nonce(tmp_path: Path) -> None:
    """One derivation opens them all, also those made later; a nonce is never used twice."""
    owner = tmp_path / "owner"
    make_owner_keys(owner, scrypt=ScryptParameters(n=32))
    make_owner_keys(owner, start=MIDNIGHT + 2 * DAY, scrypt=QUICK)
    paths = [owner / "owner.key", *(owner / "private").iterdir()]
    locked = [parse_locked(path.read_bytes()) for path in paths]
    assert len(locked) == 5
    assert len({(one.salt, one.scrypt) for one in locked}) == 1
    assert locked[0].scrypt.n == 32
    assert len({one.nonce for one in locked}) == 5


def test_more_epochs_are_added_to_the_same_owner(tmp_path: Path) -> None:
    """The serial grows, old keys stay, the owner key stays; each making is entered in the audit log."""
    first = make_owner_keys(tmp_path / "owner")
    second = make_owner_keys(tmp_path / "owner", start=MIDNIGHT + 2 * DAY)
    assert (first.new_owner, second.new_owner) == (True, False)
    assert (first.keyring.serial, second.keyring.serial) == (1, 2)
    assert [key.valid_from for key in second.keyring.keys] == [MIDNIGHT + DAY * index for index in range(4)]
    public = load_ed25519_public(tmp_path / "owner" / "owner.pub")
    report = read_audit(tmp_path / "owner" / "audit.cose", public)
    assert report.findings == ()
    assert [(entry.action, entry.count, entry.scope.serial) for entry in report.entries] == [
        (Action.KEYS, 2, 1),
        (Action.KEYS, 2, 2),
    ]
    assert report.entries[1].ids == tuple(key.kid for key in second.added)


def test_an_open_private_file_of_an_x25519_key_is_a_cose_key(tmp_path: Path) -> None:
    """OKP with crv X25519, x and d, so that any COSE library can load it; the owner's is one with crv Ed25519."""
    make_owner_keys(tmp_path / "owner", epochs=1, passphrase=None)
    (path,) = (tmp_path / "owner" / "private").iterdir()
    key = cbor2.loads(path.read_bytes())
    assert (key[1], key[3], key[-1], len(key[-2]), len(key[-4])) == (1, 50, 4, 32, 32)
    own = cbor2.loads((tmp_path / "owner" / "owner.key").read_bytes())
    assert (own[1], own[3], own[-1], len(own[-2]), len(own[-4])) == (1, -8, 6, 32, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipients": []}, "at least one"),
        ({"recipients": ["a", "a"]}, "once"),
        ({"epochs": 0}, "at least 1"),
        ({"epochs": 5000}, "at most 4096"),
        ({"epochs": 4095}, "at most 4096"),
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
    make_owner_keys(tmp_path / "owner")
    before = files_of(tmp_path / "owner")
    with pytest.raises(UsageError, match=message):
        make_owner_keys(tmp_path / "owner", **changes)
    assert files_of(tmp_path / "owner") == before


@pytest.mark.parametrize(
    ("made_under", "given", "message"),
    [
        (PASSPHRASE, b"another passphrase", "passphrase is wrong"),
        (PASSPHRASE, PASSPHRASE + b" ", "passphrase is wrong"),
        (PASSPHRASE, None, "is under a passphrase"),
        (None, PASSPHRASE, "is under no passphrase"),
    ],
)
def test_another_passphrase_opens_nothing_and_changes_nothing(
    tmp_path: Path, made_under: bytes | None, given: bytes | None, message: str
) -> None:
    """Neither loading nor making more keys; the message holds no passphrase."""
    owner = tmp_path / "owner"
    make_owner_keys(owner, passphrase=made_under)
    before = files_of(owner)
    with pytest.raises(KeyFileError, match=message) as raised:
        load_private_keys(owner, given)
    assert "correct" not in str(raised.value)
    with pytest.raises(KeyFileError, match=message):
        make_owner_keys(owner, start=MIDNIGHT + 9 * DAY, passphrase=given)
    assert files_of(owner) == before


def test_a_short_passphrase_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Seven bytes are too few; eight are taken."""
    with pytest.raises(UsageError, match="shorter than 8"):
        make_owner_keys(tmp_path / "owner", passphrase=b"7 bytes")
    assert not (tmp_path / "owner").exists()
    make_owner_keys(tmp_path / "owner", passphrase=b"8 bytes.")
    assert is_locked((tmp_path / "owner" / "owner.key").read_bytes())


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """A private key under another name, garbage, a missing folder, and a file in another form than the rest."""
    owner = tmp_path / "owner"
    make_owner_keys(owner, epochs=1)
    (path,) = (owner / "private").iterdir()
    good = path.read_bytes()
    other = path.with_name("ab" * 32 + ".cose")
    path.rename(other)
    with pytest.raises(KeyFileError, match="another key than its name"):
        load_private_keys(owner, PASSPHRASE)
    other.write_bytes(b"\x00")
    with pytest.raises(KeyFileError, match="unlike owner.key"):
        load_private_keys(owner, PASSPHRASE)
    other.write_bytes(good[:-1])
    with pytest.raises(KeyFileError, match="not CBOR"):
        load_private_keys(owner, PASSPHRASE)
    other.rename(owner / "private" / "what.cose")
    with pytest.raises(KeyFileError, match="no key id"):
        load_private_keys(owner, PASSPHRASE)
    (owner / "private" / "what.cose").unlink()
    with pytest.raises(KeyFileError, match="no private key"):
        load_private_keys(owner, PASSPHRASE)
    (owner / "keyring.cose").write_bytes(b"garbage")
    with pytest.raises(PlatesealError, match="keyring.cose"):
        make_owner_keys(owner, start=MIDNIGHT + 9 * DAY)
    with pytest.raises(KeyFileError, match="cannot be made"):
        make_owner_keys(owner / "owner.key" / "below")
    with pytest.raises(KeyFileError, match="holds no owner.key"):
        load_private_keys(tmp_path)


@pytest.mark.parametrize("data", [b"\x00", b"\xa1\x01\x01", b"\xa2\x03\x27\x20\x06"])
def test_an_open_owner_key_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    """Not a map, another kind of key, no private half."""
    make_owner_keys(tmp_path / "owner", passphrase=None)
    (tmp_path / "owner" / "owner.key").write_bytes(data)
    with pytest.raises(KeyFileError, match="owner.key"):
        unlock_owner(tmp_path / "owner", None)


def test_the_passphrase_is_derived_once_for_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrypt takes most of a second at its real cost; a keyring may have thousands of keys."""
    make_owner_keys(tmp_path / "owner", epochs=20)
    derived = []

    def count(**cost: Any) -> Scrypt:
        derived.append(cost["n"])
        return Scrypt(**cost)

    monkeypatch.setattr(locked_module, "Scrypt", count)
    assert len(load_private_keys(tmp_path / "owner", PASSPHRASE)) == 20
    assert derived == [QUICK.n]


def test_a_making_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    """The owner's key was written and its public half not: it is written by the next command."""
    make_owner_keys(tmp_path / "owner")
    public = (tmp_path / "owner" / "owner.pub").read_bytes()
    (tmp_path / "owner" / "owner.pub").unlink()
    unlock_owner(tmp_path / "owner", PASSPHRASE)
    assert (tmp_path / "owner" / "owner.pub").read_bytes() == public


def test_another_public_half_is_noticed(tmp_path: Path) -> None:
    """`owner.pub` of another owner beside this owner's key."""
    make_owner_keys(tmp_path / "owner")
    make_owner_keys(tmp_path / "other")
    (tmp_path / "other" / "owner.pub").replace(tmp_path / "owner" / "owner.pub")
    with pytest.raises(KeyFileError, match="not the public half"):
        unlock_owner(tmp_path / "owner", PASSPHRASE)


def test_no_keys_are_made_beside_an_altered_audit_log(tmp_path: Path) -> None:
    """The log is looked at before any private key is written."""
    owner = tmp_path / "owner"
    make_owner_keys(owner)
    log = bytearray((owner / "audit.cose").read_bytes())
    log[-1] ^= 1
    (owner / "audit.cose").write_bytes(log)
    before = files_of(owner)
    with pytest.raises(AuditVerificationError, match="entry 0 is altered"):
        make_owner_keys(owner, start=MIDNIGHT + 2 * DAY)
    assert files_of(owner) == before
