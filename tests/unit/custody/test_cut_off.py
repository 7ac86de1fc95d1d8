"""A destruction that was cut off, and an audit log that is not whole: what each next command does and says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.custody.audit import AuditLog, read_audit
from agent.custody.audit_entry import Action, Mandate, Scope, encode_payload
from agent.custody.destroy import plan_destruction
from agent.custody.next_keyring import NO_HISTORY
from agent.wire import cbor, cose
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.custody_cli import CASE, Done, custody
from tests.fakes.owner import DAY, MANDATE, MIDNIGHT, make_owner_keys

SWEEP = Mandate(who="max", reason="retention")


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner with keys of two days, and a receiver's folder with reads of both."""
    return make_custody_bench(tmp_path)


def run(bench: CustodyBench, command: str, *more: str | Path) -> Done:
    """Run a command with the owner's folder and passphrase."""
    return custody(command, "--dir", bench.directory, "--passphrase-file", bench.passphrase_file, *more)


def open_(bench: CustodyBench) -> Done:
    """Open everything."""
    return run(bench, "open", "--store", bench.receiver, *CASE, "--json")


def enter_destruction(bench: CustodyBench) -> list[Path]:
    """Enter that both keys are destroyed, and leave their files: a kill right after the entry."""
    owner = bench.owner
    plan = plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + 2 * DAY, NO_HISTORY)
    AuditLog(owner).append(Action.DESTROY, SWEEP, count=2, ids=plan.kids, scope=Scope(before=plan.before))
    return [owner.layout.private_key(kid) for kid in plan.kids]


def nothing_erased(_: list[Path]) -> int:
    """Killed before the first file."""
    return 2


def one_overwritten(files: list[Path]) -> int:
    """Killed between the zeros and the unlinking of the first file."""
    files[0].write_bytes(bytes(files[0].stat().st_size))
    return 2


def one_half_overwritten(files: list[Path]) -> int:
    """Killed while it was overwritten."""
    data = files[0].read_bytes()
    files[0].write_bytes(bytes(len(data) // 2) + data[len(data) // 2 :])
    return 2


def one_erased(files: list[Path]) -> int:
    """Killed between two files."""
    files[0].unlink()
    return 1


CUTS = (nothing_erased, one_overwritten, one_half_overwritten, one_erased)


@pytest.mark.parametrize("cut", CUTS)
def test_a_destruction_that_was_cut_off_is_named_and_opens_nothing(
    bench: CustodyBench, cut: Callable[[list[Path]], int]
) -> None:
    """No command is blocked; each says which entry, how many keys are left, and the command that finishes it."""
    left = cut(enter_destruction(bench))
    told = f"entry 1 destroyed 2 keys, and {left} of them are still in "
    cure = f"plateseal custody destroy --dir {bench.directory} --before 2026-03-03T00:00:00 --reason TEXT"
    for done in (
        open_(bench),
        run(bench, "hold", "--store", bench.receiver, *CASE, "--plate", "AB*"),
        run(bench, "keys", "--from", "2026-04-01", "--epochs", "1"),
    ):
        assert done.code == 0, done.err
        assert told in done.err
        assert cure in done.err
    opened = open_(bench)
    assert opened.out == ""
    assert "not opened: 4 with a destroyed key" in opened.err
    audit = run(bench, "audit", "--json")
    assert audit.code == 7
    assert [told in finding for finding in json.loads(audit.out)["findings"]] == [True]


@pytest.mark.parametrize("cut", CUTS)
def test_the_next_destruction_finishes_it(bench: CustodyBench, cut: Callable[[list[Path]], int]) -> None:
    """The command that is named erases what is left, signs a keyring without it, and then nothing is to be told."""
    left = cut(enter_destruction(bench))
    done = run(bench, "destroy", "--before", "2026-03-03T00:00:00", "--reason", "again", "--yes", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["destroyed"] == left
    assert list(bench.owner.layout.private.iterdir()) == []
    assert not bench.owner.layout.keyring.exists()
    audit = run(bench, "audit", "--json")
    assert (audit.code, json.loads(audit.out)["findings"]) == (0, []), audit.err
    assert "beware" not in open_(bench).err


def test_new_keys_leave_out_what_is_entered_as_destroyed(bench: CustodyBench) -> None:
    """Units must not seal to a key whose file the next destruction erases."""
    enter_destruction(bench)
    assert run(bench, "keys", "--from", "2026-04-01", "--epochs", "1").code == 0
    assert len(bench.owner.keyring().keys) == 1


def test_a_keyring_that_lists_destroyed_keys_is_told(bench: CustodyBench) -> None:
    """Killed before the keyring was signed: units seal to keys that are gone, until somebody brings another one."""
    for file in enter_destruction(bench):
        file.unlink()
    opened = open_(bench)
    assert "keyring.cose lists 2 destroyed keys (entry 1), and units go on sealing to them" in opened.err
    assert run(bench, "destroy", "--before", "30d", "--reason", "again", "--json").code == 0
    assert "beware" not in open_(bench).err


def test_a_key_that_was_put_back_is_told(bench: CustodyBench, tmp_path: Path) -> None:
    """A copy of the key files from before: it opens nothing here, and the next destruction erases it."""
    shutil.copytree(bench.owner.layout.private, tmp_path / "private")
    assert run(bench, "destroy", "--before", "2026-03-10", "--reason", "x", "--yes").code == 0
    shutil.copytree(tmp_path / "private", bench.owner.layout.private, dirs_exist_ok=True)
    opened = open_(bench)
    assert "2 of them are still in" in opened.err
    assert "not opened: 4 with a destroyed key" in opened.err


def test_a_key_that_is_missing_is_not_called_destroyed(bench: CustodyBench) -> None:
    """Half a copy of the folder: the log knows of no destruction."""
    for path in bench.owner.layout.private.iterdir():
        path.unlink()
    opened = open_(bench)
    assert opened.code == 0
    assert "4 whose key is not in this folder, though its destruction was never entered" in opened.err


def removed(log: Path) -> str:
    """Take the log away."""
    log.unlink()
    return "is missing or empty, and had 4 entries"


def emptied(log: Path) -> str:
    """Leave nothing in it."""
    log.write_bytes(b"")
    return "is missing or empty, and had 4 entries"


def cut(log: Path) -> str:
    """Take its newest entry away, whole."""
    data = log.read_bytes()
    log.write_bytes(data[: data.rindex(data[:16])])  # each begins alike; two bytes may stand in a signature too
    return "was cut off: it ends with entry 2, and had 4 entries"


def removed_with_its_head(log: Path) -> str:
    """Take both away."""
    log.unlink()
    log.with_name("audit.head").unlink()
    return "is missing or empty, though keys were made here"


def without_its_head(log: Path) -> str:
    """Take its newest entry away, and the note that says so."""
    cut(log)
    log.with_name("audit.head").unlink()
    return "may have been cut off: audit.head, which says where it ends, is missing"


LOSSES = (removed, emptied, cut, removed_with_its_head, without_its_head)


@pytest.mark.parametrize("lose", LOSSES)
def test_without_the_whole_log_nothing_is_opened(
    bench: CustodyBench, tmp_path: Path, lose: Callable[[Path], str]
) -> None:
    """Nothing is opened, held, exported, made or destroyed, the cure is named, and the evidence stays as it is."""
    log = bench.owner.layout.audit
    for count in (1, 2, 3):
        AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=count)
    fault = lose(log)
    before = log.read_bytes() if log.exists() else None
    envelope_id = bench.envelopes[0].envelope_id
    refused = [
        open_(bench),
        run(bench, "hold", "--store", bench.receiver, *CASE, "--plate", "AB*"),
        run(bench, "export", "--store", bench.receiver, *CASE, "--id", envelope_id, "--out", tmp_path / "out"),
        run(bench, "keys", "--from", "2026-04-01", "--epochs", "1"),
        run(bench, "destroy", "--before", "2026-03-10", "--reason", "x", "--yes"),
    ]
    for done in refused:
        assert (done.code, "AB1" in done.out, fault in done.err) == (7, False, True), done.err
        assert f"plateseal custody audit --dir {bench.directory} --mend --reason TEXT" in done.err
    audit = run(bench, "audit")
    assert (audit.code, "--mend --reason TEXT" in audit.err) == (7, True), audit.err
    assert (log.read_bytes() if log.exists() else None) == before
    assert len(list(bench.owner.layout.private.iterdir())) == 2
    assert not bench.owner.layout.cases.exists()


@pytest.mark.parametrize("lose", LOSSES)
def test_a_loss_that_is_entered_lets_custodians_go_on(bench: CustodyBench, lose: Callable[[Path], str]) -> None:
    """The loss is an entry of its own; a log that begins with it is never again without a finding."""
    for count in (1, 2, 3):
        AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=count)
    lose(bench.owner.layout.audit)
    mended = run(bench, "audit", "--mend", "--reason", "disk lost")
    begins_anew = lose in (removed, emptied, removed_with_its_head)
    assert mended.code == (7 if begins_anew else 0), mended.err
    assert "disk lost" in mended.out
    assert ("the log that began with the owner's keys is gone" in mended.err) == begins_anew
    assert len(open_(bench).out.splitlines()) == 4
    entries = json.loads(run(bench, "audit", "--json").out)["entries"]
    (lost,) = [entry for entry in entries if entry["action"] == "lost"]
    assert lost["count"] == {"removed": 4, "emptied": 4, "cut": 1}.get(lose.__name__, 0)


def test_a_log_that_is_one_entry_longer_than_the_note_is_whole(bench: CustodyBench) -> None:
    """A kill between the entry and the note."""
    head = bench.owner.layout.audit_head.read_bytes()
    AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=1)
    bench.owner.layout.audit_head.write_bytes(head)
    assert open_(bench).code == 0
    assert run(bench, "audit").code == 0


def test_another_log_of_the_same_length_is_noticed(bench: CustodyBench) -> None:
    """Written anew by somebody who has the owner's key, up to the number that the note says."""
    owner = bench.owner
    head, log = owner.layout.audit_head.read_bytes(), owner.layout.audit.read_bytes()
    AuditLog(owner).append(Action.OPEN, MANDATE, count=1)
    noted = owner.layout.audit_head.read_bytes()
    owner.layout.audit.write_bytes(log)
    owner.layout.audit_head.write_bytes(head)
    AuditLog(owner).append(Action.OPEN, MANDATE, count=2)
    owner.layout.audit_head.write_bytes(noted)
    assert "was replaced: entry 1 is another one than audit.head names" in open_(bench).err


def as_before_notes(bench: CustodyBench) -> None:
    """Sign the log anew as an earlier plateseal wrote it: no entry says that its end is noted, and it is not."""
    owner, prev, data = bench.owner, bytes(32), b""
    for entry in read_audit(owner.layout.audit, owner.public_key).entries:
        payload = encode_payload(replace(entry, noted=False, prev=prev))
        header = cose.signed_header("application/plateseal-audit+cbor", cose.ed25519_kid(owner.public_key))
        item = cose.sign1(cose.encode_protected(header), payload, owner.signing_key)
        data, prev = data + item, cbor.sha256(item)
    owner.layout.audit.write_bytes(data)
    owner.layout.audit_head.unlink()


def test_a_log_of_an_earlier_plateseal_goes_on_and_is_noted_from_then_on(bench: CustodyBench) -> None:
    """An upgrade needs no step of its own; from the next entry on nothing may be cut off."""
    AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=1)
    as_before_notes(bench)
    assert run(bench, "audit").code == 0
    assert len(open_(bench).out.splitlines()) == 4
    assert run(bench, "audit").code == 0
    cut(bench.owner.layout.audit)
    assert "was cut off: it ends with entry 2, and had 4 entries" in open_(bench).err
    bench.owner.layout.audit_head.unlink()
    assert "may have been cut off" in open_(bench).err


def test_a_kill_before_the_first_note_of_an_old_log_needs_no_mending(
    bench: CustodyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old end is noted before the entry that says so."""
    as_before_notes(bench)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=1)
    assert bench.owner.layout.audit_head.exists()
    assert open_(bench).code == 0


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xd2\x84\x40\xa0\x40\x40"])
def test_a_note_that_is_none_is_named(bench: CustodyBench, data: bytes) -> None:
    """Damaged: nothing is opened on its word."""
    bench.owner.layout.audit_head.write_bytes(data)
    done = open_(bench)
    assert (done.code, "audit.head: " in done.err, done.out) == (7, True, "")


def test_a_note_of_another_owner_is_refused(bench: CustodyBench, tmp_path: Path) -> None:
    """Its signature is not this owner's."""
    make_owner_keys(tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "audit.head", bench.owner.layout.audit_head)
    assert "audit head: " in open_(bench).err


def test_a_kill_before_the_first_keys_needs_no_mending(tmp_path: Path) -> None:
    """The owner's key and the first entry are there, the note and the keys are not: the making goes on."""
    directory = tmp_path / "owner"
    make_owner_keys(directory)
    for path in (directory / "audit.head", directory / "keyring.cose", *(directory / "private").iterdir()):
        path.unlink()
    assert len(make_owner_keys(directory).added) == 2
