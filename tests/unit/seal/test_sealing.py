"""Sealing: the chain, its last link, the keyring file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.opener import open_envelope
from agent.disk.files import LocalFiles
from agent.errors import KeyFileError, KeyringVerificationError
from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.last_link import LAST_LINK_FILE, LastLink
from agent.seal.sealer import Sealer
from agent.wire import suites
from agent.wire.header import ZERO_DIGEST
from agent.wire.keyring import encode_keyring
from agent.wire.plaintext import ClockState
from tests.fakes.envelopes import make_envelope
from tests.fakes.reads import NOON, make_keyring, make_plaintext, make_recipient

KEY = Ed25519PrivateKey.generate()
OWNER = Ed25519PrivateKey.generate()


def test_a_chain_links_each_envelope_to_the_one_before() -> None:
    """Sequence counts up, prev is the digest before, the chain id stays."""
    recipient, _ = make_recipient()
    sealer = Sealer(signing_key=KEY, book=KeyringBook(make_keyring(recipient)), cipher=suites.ContentCipher.AES_256_GCM)
    chain = Chain()
    envelopes = []
    for index in range(3):
        envelopes.append(sealer.seal(make_plaintext(f"PLATE{index}"), chain.next))
        chain.advance(envelopes[-1])
    assert [envelope.position.seq for envelope in envelopes] == [0, 1, 2]
    assert envelopes[0].position.prev == ZERO_DIGEST
    assert [later.position.prev for later in envelopes[1:]] == [earlier.digest for earlier in envelopes[:-1]]
    assert len({envelope.position.chain for envelope in envelopes}) == 1


def test_two_chains_never_share_an_id() -> None:
    """A new one at every start."""
    assert Chain().next.chain != Chain().next.chain


def test_a_refused_read_leaves_no_hole() -> None:
    """The position is used up by acceptance, not by sealing."""
    chain = Chain()
    refused = make_envelope(KEY, chain.next, b"refused")
    accepted = make_envelope(KEY, chain.next, b"accepted")
    chain.advance(accepted)
    assert chain.next.seq == 1
    assert chain.next.prev == accepted.digest != refused.digest


def test_an_envelope_out_of_place_does_not_advance_the_chain() -> None:
    """A programming error is not signed into the chain."""
    chain = Chain()
    with pytest.raises(ValueError, match="not the next"):
        chain.advance(make_envelope(KEY))


def test_each_read_opens_with_the_key_of_its_capture_time_alone() -> None:
    """Two epochs, a read in each: neither key opens the other's read."""
    today, today_private = make_recipient()
    tomorrow, tomorrow_private = make_recipient(valid_from=today.valid_until)
    book = KeyringBook(make_keyring(today, tomorrow))
    sealer = Sealer(signing_key=KEY, book=book, cipher=suites.ContentCipher.AES_256_GCM)
    for captured_at, private in ((NOON, today_private), (NOON + timedelta(days=1), tomorrow_private)):
        read = make_plaintext(captured_at=captured_at)
        assert open_envelope(sealer.seal(read, Chain().next), {private.kid: private}) == read


def test_the_last_link_survives_a_clean_stop_once(tmp_path: Path) -> None:
    """Left at the end, taken at the next start, gone afterwards."""
    link, chain = LastLink(tmp_path, LocalFiles()), Chain()
    envelope = make_envelope(KEY, chain.next)
    chain.advance(envelope)
    link.leave(chain)
    assert link.take() == envelope.digest
    assert link.take() is None


def test_a_run_without_a_read_hands_the_link_on(tmp_path: Path) -> None:
    """The chain before stays named although this one is empty."""
    link = LastLink(tmp_path, LocalFiles())
    link.leave(Chain(last=b"\x07" * 32))
    assert link.take() == b"\x07" * 32
    link.leave(Chain())
    assert link.take() is None


def test_a_damaged_link_is_no_link(tmp_path: Path) -> None:
    """Nothing is claimed about the chain before."""
    for note in (b"", b"zz" * 32, b"ab" * 31, b"ab" * 33):
        (tmp_path / LAST_LINK_FILE).write_bytes(note)
        assert LastLink(tmp_path, LocalFiles()).take() is None


def test_a_keyring_file_is_checked_against_the_owner(tmp_path: Path) -> None:
    """Right owner: its keys. Another owner, garbage or no file: one line with the path."""
    path = tmp_path / "keyring.cose"
    recipient, _ = make_recipient()
    path.write_bytes(encode_keyring(make_keyring(recipient, serial=5), OWNER))
    book = KeyringBook.load(path, OWNER.public_key())
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (recipient,)
    assert book.keyring.serial == 5
    with pytest.raises(KeyringVerificationError, match=str(path)):
        KeyringBook.load(path, KEY.public_key())
    path.write_bytes(b"garbage")
    with pytest.raises(KeyFileError, match=str(path)):
        KeyringBook.load(path, OWNER.public_key())
    with pytest.raises(KeyFileError, match="missing"):
        KeyringBook.load(tmp_path / "missing", OWNER.public_key())
