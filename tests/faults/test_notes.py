"""The durable notes beside the spool: their steps, in order, and a disk that refuses any of them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import KeyringVerificationError, SpoolError
from agent.keys.keyring_serial import NOTE_FILE, SerialNote
from agent.seal.chain import Chain
from agent.seal.last_link import LAST_LINK_FILE, LastLink
from agent.unit.process.clock_trust import ReceiptTime
from agent.wire import suites
from agent.wire.keyring import encode_keyring, parse_keyring
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import make_envelope
from tests.fakes.files import FaultyFiles
from tests.fakes.reads import NOON, make_keyring, make_recipient
from tests.fakes.receipts import verified_at

OWNER = Ed25519PrivateKey.generate()


@pytest.fixture
def files() -> FaultyFiles:
    """A disk that counts."""
    return FaultyFiles()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An empty state directory."""
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def ended_chain() -> Chain:
    """Return a chain of one link."""
    chain = Chain()
    chain.advance(make_envelope(Ed25519PrivateKey.generate(), chain.next))
    return chain


def test_a_last_link_is_noted_durably(state: Path, files: FaultyFiles) -> None:
    """At the start of a chain and at its end: the new note takes the old one's place whole."""
    link = LastLink(state, files)
    link.leave(link.begin(lambda: None))
    assert files.steps == 2 * ["unlink state", "create state", "rename to state", "sync state"]


def test_no_chain_begins_when_the_disk_refuses_its_note(state: Path, files: FaultyFiles) -> None:
    """At any step; nothing is lost, and it can be tried again."""
    chain = ended_chain()
    LastLink(state, files).leave(chain)
    for step in range(4):
        files.fail_at(step, errno.EIO)
        with pytest.raises(SpoolError):
            LastLink(state, files).begin(lambda: None)
    assert LastLink(state, files).begin(lambda: None).next.prev == chain.next.prev


def test_a_link_of_version_1_is_there_until_a_chain_has_named_it(state: Path, files: FaultyFiles) -> None:
    """Whatever step the disk refuses; it is gone, durably, before anything is sealed behind it."""
    digest = b"\xab" * 32
    (state / LAST_LINK_FILE).write_bytes(digest.hex().encode())
    for step in range(6):
        files.fail_at(step, errno.EIO)
        with pytest.raises(SpoolError):
            LastLink(state, files).begin(lambda: None)
    assert LastLink(state, files).begin(lambda: None).next.prev == digest
    assert not (state / LAST_LINK_FILE).exists()


def test_a_receipts_time_is_noted_durably(state: Path, files: FaultyFiles) -> None:
    """In place of the older note, whole."""
    clock = FakeClock()
    for _ in range(2):
        ReceiptTime(state, files, clock).note_receipt(verified_at(NOON))
    assert files.steps == 2 * ["unlink state", "create state", "rename to state", "sync state"]


def keyring(serial_from: int) -> bytes:
    """Return a signed keyring; a later one has the higher number."""
    recipient, _ = make_recipient(suites.KeyType.X25519, recipient=f"r{serial_from}")
    return encode_keyring(make_keyring(recipient, serial=serial_from), OWNER)


def test_a_keyring_serial_is_noted_durably_before_the_keyring_is_used(state: Path, files: FaultyFiles) -> None:
    """A new note takes the old one's place whole; one that is there already is made sure of."""
    for serial in (1, 2):
        data = keyring(serial)
        for _ in range(2):
            SerialNote(state, files).admit(parse_keyring(data, OWNER.public_key()), data)
    assert files.steps == 2 * ["unlink state", "create state", "rename to state", "sync state", "sync state"]
    assert [path.name for path in state.iterdir()] == [NOTE_FILE]


def test_a_keyring_is_not_admitted_when_the_disk_refuses_its_note(state: Path, files: FaultyFiles) -> None:
    """At every step; afterwards it can be tried again, and an older one is still refused."""
    newer, older = keyring(3), keyring(2)
    for step in range(4):
        files.fail_at(step, errno.EIO)
        with pytest.raises(SpoolError):
            SerialNote(state, files).admit(parse_keyring(newer, OWNER.public_key()), newer)
        (state / NOTE_FILE).unlink(missing_ok=True)
    SerialNote(state, files).admit(parse_keyring(newer, OWNER.public_key()), newer)
    with pytest.raises(KeyringVerificationError):
        SerialNote(state, files).admit(parse_keyring(older, OWNER.public_key()), older)
