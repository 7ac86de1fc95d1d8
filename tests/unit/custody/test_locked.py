"""Key files under a passphrase."""

from __future__ import annotations

from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.custody.locked import KeyLock, KeyUse, LockedKey, ScryptParameters, is_locked, parse_locked
from agent.custody.passphrase import read_passphrase_file
from agent.errors import FormatError, KeyFileError
from tests.fakes.owner import PASSPHRASE, QUICK

KID = bytes(range(32))
SECRET = b"a COSE_Key of some length"


def closed(changes: dict[object, object] | None = None) -> bytes:
    """Return a key file, or one whose protected header differs."""
    data = KeyLock(PASSPHRASE, scrypt=QUICK).close(SECRET, use=KeyUse.EPOCH, kid=KID)
    message = cbor2.loads(data)
    protected, *rest = message.value
    header = {**cbor2.loads(protected), **(changes or {})}
    return cbor2.dumps(cbor2.CBORTag(message.tag, [cbor2.dumps(header, canonical=True), *rest]), canonical=True)


def open_file(data: bytes, *, passphrase: bytes = PASSPHRASE, use: KeyUse = KeyUse.EPOCH, kid: bytes = KID) -> bytes:
    """Parse and open a key file."""
    return KeyLock(passphrase).open(parse_locked(data), use=use, kid=kid, what="x.cose")


def test_a_closed_file_opens_with_its_passphrase_only() -> None:
    """The right one gives the key back, any other nothing."""
    data = closed()
    assert is_locked(data)
    assert SECRET not in data
    assert open_file(data) == SECRET
    for wrong in (b"", b"x", PASSPHRASE[:-1], PASSPHRASE + b" "):
        with pytest.raises(KeyFileError, match="passphrase is wrong"):
            open_file(data, passphrase=wrong)


def test_a_file_opens_for_its_use_and_key_only() -> None:
    """A file that is renamed, or moved to another use, is named as such."""
    data = closed()
    with pytest.raises(KeyFileError, match="another key than its name"):
        open_file(data, use=KeyUse.CASE)
    with pytest.raises(KeyFileError, match="another key than its name"):
        open_file(data, kid=bytes(32))


def test_another_program_can_open_it_from_the_documented_layout() -> None:
    """Scrypt and AES-256-GCM over the Enc_structure of RFC 9052, with [use, kid] as external AAD."""
    message = cbor2.loads(closed())
    protected, unprotected, ciphertext = message.value
    salt, n, r, p = cbor2.loads(protected)["scrypt"]
    key = Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(PASSPHRASE)
    aad = cbor2.dumps(["Encrypt0", protected, cbor2.dumps(["epoch", KID])])
    assert message.tag == 16
    assert AESGCM(key).decrypt(unprotected[5], ciphertext, aad) == SECRET


def test_every_flipped_bit_of_a_file_is_refused() -> None:
    """In the header, the salt, the cost, the nonce or the ciphertext: nothing of it opens."""
    data = closed()
    lock = KeyLock(PASSPHRASE)
    left_out = 0
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        if any(cost.n > 1024 for cost in costs_of(bytes(altered))):
            left_out += 1
            continue  # a flip that asks for more work: refused too, but not worth the wait
        with pytest.raises((FormatError, KeyFileError)):
            lock.open(parse_locked(bytes(altered)), use=KeyUse.EPOCH, kid=KID, what="x")
    assert left_out < len(data)  # less than one bit of a byte, at the mean


def costs_of(data: bytes) -> list[ScryptParameters]:
    """Return the cost that a file asks for, if it parses."""
    try:
        return [parse_locked(data).scrypt]
    except FormatError:
        return []


@pytest.mark.parametrize(
    "scrypt",
    [
        [bytes(16), 1 << 21, 8, 1],
        [bytes(16), 1 << 20, 16, 1],
        [bytes(16), 3, 8, 1],
        [bytes(16), 1, 8, 1],
        [bytes(16), 0, 8, 1],
        [bytes(16), 16, 0, 1],
        [bytes(16), 16, 33, 1],
        [bytes(16), 16, 8, 0],
        [bytes(16), 16, 8, 17],
        [bytes(15), 16, 8, 1],
        [bytes(16), 16, 8],
        [bytes(16), -16, 8, 1],
        [bytes(16), "16", 8, 1],
        "scrypt",
    ],
)
def test_a_file_cannot_ask_for_more_than_the_limits(scrypt: object) -> None:
    """Refused before anything is derived."""
    with pytest.raises(FormatError):
        parse_locked(closed({"scrypt": scrypt}))


@pytest.mark.parametrize(
    "changes",
    [
        {1: 1},
        {3: "application/plateseal+cbor"},
        {"ps": {"v": 2, "use": "epoch", "kid": KID}},
        {"ps": {"v": 1, "use": "spare", "kid": KID}},
        {"ps": {"v": 1, "use": "epoch", "kid": KID[:-1]}},
        {"ps": {"v": 1, "use": "epoch"}},
        {"more": 1},
    ],
)
def test_an_unknown_layout_is_refused(changes: dict[object, object]) -> None:
    """Another algorithm, content type, version, use, key id or field."""
    with pytest.raises(FormatError):
        parse_locked(closed(changes))


def test_limits_hold_for_the_cost_of_new_files_too() -> None:
    """The same object states both."""
    assert ScryptParameters().n == 1 << 17
    with pytest.raises(FormatError, match="memory"):
        ScryptParameters(n=1 << 20, r=9)


def test_no_repr_shows_a_secret() -> None:
    """Neither the lock nor a parsed file."""
    lock, data = KeyLock(PASSPHRASE), closed()
    parsed: LockedKey = parse_locked(data)
    assert "correct" not in repr(lock)
    assert parsed.ciphertext.hex()[:8] not in repr(parsed)
    assert repr(parsed.ciphertext)[2:10] not in repr(parsed)


@pytest.mark.parametrize(
    ("content", "passphrase"), [(b"word\n", b"word"), (b"word\r\n", b"word"), (b" word ", b" word ")]
)
def test_a_passphrase_file_loses_its_line_end_only(tmp_path: Path, content: bytes, passphrase: bytes) -> None:
    """Spaces belong to it."""
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_passphrase_file(path) == passphrase


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"x" * 1025, 0o600, "longer than 1024"),
        (b"x" * 70000, 0o600, "longer than"),
        (b"word\x00", 0o600, "NUL byte"),
        (b"word", 0o640, "chmod 600"),
        (b"word", 0o604, "chmod 600"),
    ],
)
def test_an_unfit_passphrase_file_is_refused(tmp_path: Path, content: bytes, mode: int, message: str) -> None:
    """Empty, too long, or open to others."""
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=message):
        read_passphrase_file(path)


def test_a_link_or_a_missing_passphrase_file_is_refused(tmp_path: Path) -> None:
    """As for any private key."""
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(KeyFileError, match="is a link"):
        read_passphrase_file(tmp_path / "link")
    with pytest.raises(KeyFileError, match="No such file"):
        read_passphrase_file(tmp_path / "missing")
