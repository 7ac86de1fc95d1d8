"""The audit log: what it holds, and that nothing done to it goes unnoticed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cbor2
import pytest

from agent.custody import audit
from agent.custody.audit import AuditLog, AuditReport, read_audit
from agent.custody.audit_entry import Action, Mandate, Scope
from agent.custody.owner import Owner, create_owner
from agent.errors import AuditVerificationError, CustodyError, UsageError
from agent.wire import cbor
from tests.fakes.owner import MANDATE, PASSPHRASE, QUICK, make_owner

IDS = [bytes([index]) * 32 for index in range(3)]
WINDOW = Scope(by=("plate", "from"), start=datetime(2026, 3, 1, tzinfo=UTC))
Edit = Callable[[list[bytes]], list[bytes]]


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    """Return an owner who has no keys yet, so that a log may begin."""
    return create_owner(tmp_path_factory.mktemp("audit") / "owner", PASSPHRASE, scrypt=QUICK)


@pytest.fixture(autouse=True)
def fresh_log(owner: Owner) -> None:
    """Begin every test with a log of five entries: the keys, and four that follow."""
    forget(owner)
    log = AuditLog(owner)
    log.append(Action.KEYS, Mandate(who="erika"), count=1, scope=Scope(serial=1))
    log.append(
        Action.SEARCH, MANDATE, count=9, scope=Scope(by=("plate", "from"), start=datetime(2026, 3, 1, tzinfo=UTC))
    )
    log.append(Action.OPEN, MANDATE, count=3, ids=IDS)
    log.append(Action.HOLD, MANDATE, count=1, ids=IDS[:1])
    log.append(Action.EXPORT, MANDATE, count=1, ids=IDS[:1])


def forget(owner: Owner) -> None:
    """Make the folder as it is before the first entry."""
    owner.layout.audit.unlink(missing_ok=True)
    owner.layout.audit_head.unlink(missing_ok=True)


def report(owner: Owner) -> AuditReport:
    """Read the log as it is on the disk."""
    return read_audit(owner.layout.audit, owner.signing_key.public_key())


def items(owner: Owner) -> list[bytes]:
    """Return the entries' bytes, found by an independent reader of CBOR."""
    data, found = owner.layout.audit.read_bytes(), []
    while data:
        first = cbor2.dumps(cbor2.loads(data), canonical=True)
        assert data.startswith(first)
        found.append(first)
        data = data[len(first) :]
    return found


def test_entries_come_back_as_entered_and_chained(owner: Owner) -> None:
    """Every field; each entry names the digest of the one before; the head is the last one's."""
    got = report(owner)
    assert got.findings == ()
    assert [entry.seq for entry in got.entries] == [0, 1, 2, 3, 4]
    assert got.entries[0].prev == bytes(32)
    digests = [cbor.sha256(item) for item in items(owner)]
    assert [entry.prev for entry in got.entries[1:]] == digests[:-1]
    assert got.head == digests[-1]
    assert list(got.digests) == list(digests)
    opened = got.entries[2]
    assert (opened.who, opened.case, opened.reason, opened.count) == ("erika", "2027-0815", "hit and run", 3)
    assert opened.ids == tuple(IDS)
    assert got.entries[1].scope == WINDOW


def test_every_flipped_byte_is_noticed(owner: Owner) -> None:
    """Each byte of two entries in turn, all its bits and its last one: something is found every time."""
    good = b"".join(items(owner)[:2])
    owner.layout.audit.write_bytes(good)
    assert report(owner).findings == ()
    for index in range(len(good)):
        for mask in (0xFF, 0x01):
            altered = bytearray(good)
            altered[index] ^= mask
            owner.layout.audit.write_bytes(altered)
            assert report(owner).findings, index


def test_a_flipped_byte_is_laid_to_its_entry(owner: Owner) -> None:
    """A letter of the reason in entry 2 is changed: entry 2 is named, and the others still hold."""
    entries = items(owner)
    entries[2] = entries[2].replace(b"hit and run", b"hit and fun")
    owner.layout.audit.write_bytes(b"".join(entries))
    got = report(owner)
    assert len(got.findings) == 1
    assert got.findings[0].startswith("entry 2 is altered")
    assert [entry.seq for entry in got.entries] == [0, 1, 3, 4]


TAMPERING: dict[str, tuple[Edit, list[str]]] = {
    "first removed": (lambda e: e[1:], ["entry 1 stands where entry 0 should be", "entry 0 is missing"]),
    "one removed": (lambda e: [*e[:2], *e[3:]], ["entry 3 stands where entry 2 should be", "entry 2 is missing"]),
    "two removed": (lambda e: [e[0], *e[3:]], ["entry 3 stands where entry 1 should be", "entries 1 to 2 are missing"]),
    "two places": (
        lambda e: [e[0], e[2], e[4]],
        ["entry 2 stands where entry 1", "entry 4 stands where entry 3", "entries 1, 3 are missing"],
    ),
    "swapped": (
        lambda e: [e[0], e[2], e[1], *e[3:]],
        ["entry 2 stands where entry 1 should be", "entry 1 is out of order: it stands after entry 2"],
    ),
    "doubled": (lambda e: [*e[:3], e[2], *e[3:]], ["entry 2 stands in the log twice"]),
    "repeated at the end": (lambda e: [*e, e[1]], ["entry 1 stands in the log twice"]),
    "cut in the middle": (
        lambda e: [*e[:2], e[2][: len(e[2]) // 2], *e[3:]],
        ["entry 2 is altered"],
    ),
    "bytes between": (lambda e: [*e[:2], b"\x00\x00", *e[2:]], ["entry 2 is altered", "entry 2 is out of order"]),
    "bytes at the end": (lambda e: [*e, b"\xff\xff"], ["entry 5 is altered: 2 bytes"]),
    "torn at the end": (lambda e: [*e[:4], e[4][:-1]], ["the last write was cut off"]),
    "torn after one byte": (lambda e: [*e[:4], e[4][:1]], ["the last write was cut off: 1 bytes"]),
    "zeroed": (lambda e: [*e[:3], bytes(len(e[3])), e[4]], ["entry 3 is altered"]),
    "log begun anew": (lambda e: [e[0]], []),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_named(owner: Owner, name: str) -> None:
    """Altered, missing, reordered, doubled, cut: each by name and entry. Whole last entries need the noted head."""
    edit, expected = TAMPERING[name]
    head = report(owner).head
    owner.layout.audit.write_bytes(b"".join(edit(items(owner))))
    got = report(owner)
    for fragment in expected:
        assert any(fragment in finding for finding in got.findings), got.findings
    assert bool(got.findings) == bool(expected)
    if name == "log begun anew":
        assert head not in got.digests


@pytest.mark.parametrize("name", [name for name, (_, expected) in TAMPERING.items() if expected])
def test_nothing_is_added_to_a_log_that_does_not_verify(owner: Owner, name: str) -> None:
    """The act is refused, and the evidence stays as it is."""
    owner.layout.audit.write_bytes(b"".join(TAMPERING[name][0](items(owner))))
    before = owner.layout.audit.read_bytes()
    with pytest.raises(AuditVerificationError, match="nothing was done"):
        AuditLog(owner).append(Action.OPEN, MANDATE, count=1)
    assert owner.layout.audit.read_bytes() == before


def test_an_entry_that_was_replaced_by_a_signed_one_breaks_the_chain(owner: Owner) -> None:
    """Whoever has the owner's key can sign another entry 4, but not one that entry 5 follows."""
    kept = items(owner)
    AuditLog(owner).append(Action.OPEN, MANDATE, count=5)
    fifth = items(owner)[5]
    owner.layout.audit_head.unlink()
    owner.layout.audit.write_bytes(b"".join(kept[:4]))
    AuditLog(owner).append(Action.EXPORT, Mandate(who="somebody else", case="1", reason="x"), count=1)
    owner.layout.audit.write_bytes(owner.layout.audit.read_bytes() + fifth)
    assert report(owner).findings == ("entry 5 does not follow the entry before it, which was replaced",)


def test_another_owners_entries_are_refused(owner: Owner, tmp_path: Path) -> None:
    """Their signature is right, and not this owner's."""
    other = make_owner(tmp_path / "other", epochs=1)
    owner.layout.audit.write_bytes(other.layout.audit.read_bytes())
    (finding,) = report(owner).findings
    assert "entry 0 is altered" in finding


def test_a_log_that_was_deleted_and_begun_anew_is_noticed(owner: Owner) -> None:
    """The first thing an owner does is to make keys; a log that begins otherwise is not the first."""
    forget(owner)
    AuditLog(owner).append(Action.OPEN, MANDATE, count=1)
    (finding,) = report(owner).findings
    assert "the log that began with the owner's keys is gone" in finding


def test_half_an_entry_is_mended_only_when_asked(owner: Owner) -> None:
    """The bytes are set aside, the log goes on, and that is an entry of its own."""
    whole = owner.layout.audit.read_bytes()
    cut = whole[:-10]
    owner.layout.audit.write_bytes(cut)
    aside = AuditLog(owner).mend(MANDATE)
    assert aside is not None
    assert cut.endswith(aside.read_bytes())
    assert cut == b"".join(items(owner)[:4]) + aside.read_bytes()
    got = report(owner)
    assert got.findings == ()
    assert (got.entries[-1].action, got.entries[-1].count) == (Action.MEND, len(aside.read_bytes()))
    aside.unlink()


@pytest.mark.parametrize("name", ["one removed", "bytes at the end", "cut in the middle"])
def test_nothing_else_is_mended(owner: Owner, name: str) -> None:
    """A log that is whole, or wrong in another way, is left as it is."""
    owner.layout.audit.write_bytes(b"".join(TAMPERING[name][0](items(owner))))
    before = owner.layout.audit.read_bytes()
    with pytest.raises(AuditVerificationError, match="not to be mended"):
        AuditLog(owner).mend(MANDATE)
    assert owner.layout.audit.read_bytes() == before


def test_two_custodians_at_once_keep_one_chain(owner: Owner) -> None:
    """Each has the log open; entries of both stand in one order, none lost."""
    logs = [AuditLog(owner) for _ in range(4)]

    def enter(log: AuditLog) -> None:
        for _ in range(10):
            log.append(Action.OPEN, MANDATE, count=1)

    threads = [threading.Thread(target=enter, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = report(owner)
    assert got.findings == ()
    assert len(got.entries) == 45


def test_a_log_that_shrinks_while_it_is_open_is_noticed(owner: Owner) -> None:
    """A custodian's own process has seen more of it."""
    log = AuditLog(owner)
    log.append(Action.OPEN, MANDATE, count=1)
    owner.layout.audit.write_bytes(b"".join(items(owner)[:2]))
    with pytest.raises(AuditVerificationError, match="became shorter"):
        log.append(Action.OPEN, MANDATE, count=1)


@pytest.mark.parametrize("step", ["write", "fsync", "short"])
def test_a_full_disk_leaves_the_log_as_it_was(owner: Owner, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The act is refused; no half entry stays behind; the next one fits."""
    before = owner.layout.audit.read_bytes()
    log, write = AuditLog(owner), os.write

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if step == "short":
            patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        else:
            patch.setattr(os, step, fail)
        with pytest.raises(CustodyError, match="No space left"):
            log.append(Action.OPEN, MANDATE, count=1)
    assert owner.layout.audit.read_bytes() == before
    log.append(Action.OPEN, MANDATE, count=1)
    assert report(owner).findings == ()


def test_an_entry_is_on_the_disk_before_the_act(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`append` syncs what it wrote, and a new log's name too."""
    forget(owner)
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    AuditLog(owner).append(Action.KEYS, MANDATE, count=1)
    assert synced == ["audit.cose", "owner", f".audit.head.{os.getpid()}.new", "owner", "owner"]


@pytest.mark.parametrize("count", [0, 1, 4096])
def test_an_entry_may_name_every_key_of_a_keyring(owner: Owner, count: int) -> None:
    """The largest entry is read back like any other."""
    ids = [index.to_bytes(32) for index in range(count)]
    AuditLog(owner).append(Action.DESTROY, MANDATE, count=count, ids=ids)
    got = report(owner)
    assert got.findings == ()
    assert got.entries[-1].ids == tuple(ids)


def test_an_empty_and_a_missing_log(owner: Owner) -> None:
    """An empty one holds nothing and is not wrong; a missing one is an error."""
    owner.layout.audit.write_bytes(b"")
    assert report(owner) == AuditReport(entries=(), findings=(), head=None, digests={})
    owner.layout.audit.unlink()
    with pytest.raises(CustodyError, match="No such file"):
        report(owner)


@pytest.mark.parametrize(
    ("who", "case", "reason", "message"),
    [
        ("", "1", "x", "--as"),
        ("  ", "1", "x", "--as"),
        ("a" * 65, "1", "x", "--as"),
        ("a\x1b[31m", "1", "x", "--as"),
        ("a", "x" * 65, "x", "--case"),
        ("a", "x\n", "x", "--case"),
        ("a", " x", "x", "--case"),
        ("a", "\u20ac" * 30, "x", "--case"),
        ("a", "1", "x" * 401, "--reason"),
        ("a", "1", "x\ny", "--reason"),
    ],
)
def test_a_mandate_that_no_entry_can_hold_is_refused(who: str, case: str, reason: str, message: str) -> None:
    """Empty, too long, or with characters that would steer a terminal."""
    with pytest.raises(UsageError, match=message):
        Mandate(who=who, case=case, reason=reason)


def test_the_account_comes_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from variables that anybody can set; an account without a name gives its number."""
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert audit.account_name() != "somebody-else"
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    assert audit.account_name() == "uid 987654"
