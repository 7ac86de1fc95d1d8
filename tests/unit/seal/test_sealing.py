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
from agent.records import Envelope, Link
from agent.seal.chain import Chain
from agent.seal.last_link import LAST_CHAIN_FILE, LAST_LINK_FILE, LastLink
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


def never() -> Link | None:
    """Stand for a spool that must not be searched."""
    raise AssertionError("the spool is searched after a crash only")


def accepted(chain: Chain) -> Envelope:
    """Advance a chain by one envelope."""
    envelope = make_envelope(KEY, chain.next)
    chain.advance(envelope)
    return envelope


def test_after_a_clean_stop_the_next_chain_names_the_last_envelope(tmp_path: Path) -> None:
    """And has the next number; the spool is not searched."""
    link = LastLink(tmp_path, LocalFiles())
    first = link.begin(lambda: None)
    assert (first.next.run, first.next.prev) == (0, ZERO_DIGEST)
    last = accepted(first)
    link.leave(first)
    assert (link.begin(never).next.run, link.begin(lambda: None).next.prev) == (1, last.digest)


def test_after_a_crash_the_next_chain_names_what_the_spool_has(tmp_path: Path) -> None:
    """Or, where the crashed chain had accepted nothing, the one before it. Fails on version 1, which named none."""
    link = LastLink(tmp_path, LocalFiles())
    last = accepted(link.begin(lambda: None))
    found = Link.at(last.position, last.digest)
    for run in (1, 2, 3):
        at = link.begin(lambda: found).next
        assert (at.run, at.prev) == (run, last.digest)


def test_a_unit_without_an_envelope_is_still_at_its_first_chain(tmp_path: Path) -> None:
    """However often it starts, and whether it stops or crashes."""
    link = LastLink(tmp_path, LocalFiles())
    for _ in range(3):
        chain = link.begin(lambda: None)
        assert (chain.next.run, chain.next.prev) == (0, ZERO_DIGEST)
    link.leave(chain)
    assert link.begin(never).next.run == 0


def test_a_link_of_version_1_is_named_by_the_first_chain_of_version_2(tmp_path: Path) -> None:
    """An upgrade after a clean stop; the link is taken once."""
    (tmp_path / LAST_LINK_FILE).write_bytes(b"ab" * 32)
    link = LastLink(tmp_path, LocalFiles())
    at = link.begin(lambda: None).next
    assert (at.run, at.prev) == (0, b"\xab" * 32)
    last = accepted(link.begin(lambda: None))
    assert link.begin(lambda: Link.at(last.position, last.digest)).next.prev == last.digest


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("is_found", [True, False])
def test_the_numbers_go_on_after_a_while_with_version_1(tmp_path: Path, *, is_closed: bool, is_found: bool) -> None:
    """The old program leaves its own link, and may have removed the spool's mark; no number comes a second time."""
    link = LastLink(tmp_path, LocalFiles())
    chain = link.begin(lambda: None)
    last = accepted(chain)
    if is_closed:
        link.leave(chain)
    (tmp_path / LAST_LINK_FILE).write_bytes(b"ab" * 32)
    at = link.begin(lambda: Link.at(last.position, last.digest) if is_found else None).next
    assert (at.run, at.prev) == (1, b"\xab" * 32)


def test_a_key_change_is_noted_before_it_is_used(tmp_path: Path) -> None:
    """So a crash right after it finds the new chain, and its predecessor."""
    link = LastLink(tmp_path, LocalFiles())
    chain = link.begin(lambda: None)
    last = accepted(chain)
    chain.restart()
    at = LastLink(tmp_path, LocalFiles()).begin(lambda: Link.at(last.position, last.digest)).next
    assert (chain.next.run, at.run, at.prev) == (1, 2, last.digest)


def test_a_damaged_note_is_made_up_for_by_the_spool(tmp_path: Path) -> None:
    """As a missing one."""
    found = Link(4, 9, bytes(16), b"\x09" * 32)
    for note in (b"", b"zz" * 32, b"ab" * 32, b"open 1 2 3", b"closed " + b"ab" * 32):
        (tmp_path / LAST_CHAIN_FILE).write_bytes(note)
        at = LastLink(tmp_path, LocalFiles()).begin(lambda: found).next
        assert (at.run, at.prev) == (5, found.digest)


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
