"""The owner's folder: another passphrase, a case that is closed, a second copy, and every half of a copy."""

from __future__ import annotations

import errno
import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action
from agent.custody.locked import is_locked, parse_locked
from agent.disk import durable
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.custody_cli import CASE, Done, custody
from tests.fakes.owner import MANDATE, PASSPHRASE, make_owner_keys

NEW = b"another passphrase"


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner with keys of two days, and a receiver's folder with reads of both."""
    return make_custody_bench(tmp_path)


def secret(folder: Path, content: bytes) -> Path:
    """Write a passphrase file."""
    path = folder / f"secret-{content[:4].hex()}-{len(content)}"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def run(bench: CustodyBench, command: str, *more: str | Path, under: Path | None = None) -> Done:
    """Run a command with the owner's folder and a passphrase file, the bench's own if left out."""
    return custody(command, "--dir", bench.directory, "--passphrase-file", under or bench.passphrase_file, *more)


def open_(bench: CustodyBench, *, under: Path | None = None) -> Done:
    """Open everything for the case."""
    return run(bench, "open", "--store", bench.receiver, *CASE, "--json", under=under)


def hold(bench: CustodyBench, case: str = "2027-0815") -> None:
    """Hold one read of each day for a case."""
    held = run(bench, "hold", "--store", bench.receiver, "--case", case, "--reason", "x", "--plate", "AB*")
    assert held.code == 0, held.err


def key_files(bench: CustodyBench) -> list[Path]:
    """Return every private key's file."""
    layout = bench.owner.layout
    return [layout.owner_key, *sorted(layout.private.iterdir()), *layout.case_keys]


def change(bench: CustodyBench, folder: Path) -> Done:
    """Put the files under the new passphrase."""
    return run(bench, "passphrase", "--new-passphrase-file", secret(folder, NEW), "--reason", "a colleague left")


def test_another_passphrase_opens_all_and_the_old_one_nothing(bench: CustodyBench, tmp_path: Path) -> None:
    """Every key file is new, with one salt and the cost of before; the log has an entry; nothing else changes."""
    hold(bench)
    before = {path: path.read_bytes() for path in key_files(bench)}
    done = change(bench, tmp_path)
    assert (done.code, "4 key files are under the new passphrase" in done.out) == (0, True), done.err
    after = {path: path.read_bytes() for path in key_files(bench)}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert len({parse_locked(data).salt for data in after.values()}) == 1
    assert {parse_locked(data).scrypt.n for data in after.values()} == {16}
    assert len(open_(bench, under=secret(tmp_path, NEW)).out.splitlines()) == 4
    assert "the passphrase is wrong" in open_(bench).err
    entry = json.loads(run(bench, "audit", "--json").out)["entries"][3]
    assert (entry["action"], entry["count"], entry["reason"]) == ("passphrase", 4, "a colleague left")
    assert sorted(path.name for path in bench.directory.iterdir()) == [
        "audit.cose", "audit.head", "cases", "keyring.cose", "owner.key", "owner.pub", "private",
    ]  # fmt: skip


def test_a_bench_without_a_passphrase_gets_one(tmp_path: Path) -> None:
    """No old one is asked for."""
    directory = tmp_path / "owner"
    make_owner_keys(directory, passphrase=None)
    done = custody("passphrase", "--dir", directory, "--new-passphrase-file", secret(tmp_path, NEW))
    assert done.code == 0, done.err
    assert all(is_locked(path.read_bytes()) for path in [directory / "owner.key", *(directory / "private").iterdir()])


@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_a_change_that_was_cut_off_is_finished_by_the_same_command(
    bench: CustodyBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    """After any number of files: each is under one of the two; all else waits and says so; running it again ends it."""
    hold(bench)
    replace, done = durable.replace_secret, list[Path]()

    def fail(source: Path, target: Path) -> None:
        if len(done) == files:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("agent.custody.passphrase_change.durable.replace_secret", fail)
        cut_off = change(bench, tmp_path)
    assert (cut_off.code, "run it again" in cut_off.err) == (15, True), cut_off.err
    for under in (None, secret(tmp_path, NEW)):
        refused = open_(bench, under=under)
        assert (refused.code, "a change of the passphrase was cut off" in refused.err) == (8, True)
        assert f"plateseal custody passphrase --dir {bench.directory}" in refused.err
    assert run(bench, "audit").code == 0
    again = change(bench, tmp_path)
    assert again.code == 0, again.err
    assert f"{4 - files} key files are under the new passphrase" in again.out
    assert len(open_(bench, under=secret(tmp_path, NEW)).out.splitlines()) == 4
    assert list(bench.directory.rglob("*.new")) == []


def test_a_change_goes_on_with_the_passphrases_it_began_with(
    bench: CustodyBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third one would leave files under three: it is told which of the two a file is under, and nothing is done."""
    with monkeypatch.context() as patch:
        patch.setattr("agent.custody.passphrase_change._end", lambda _: None)
        assert change(bench, tmp_path).code == 0
    third = secret(tmp_path, b"something third")
    refused = run(bench, "passphrase", "--new-passphrase-file", third)
    assert (refused.code, "It is under the new passphrase" in refused.err) == (8, True), refused.err
    assert change(bench, tmp_path).code == 0
    assert len(open_(bench, under=secret(tmp_path, NEW)).out.splitlines()) == 4


def test_a_wrong_old_passphrase_changes_nothing(bench: CustodyBench, tmp_path: Path) -> None:
    """Everything is opened before anything is written."""
    before = {path: path.read_bytes() for path in bench.directory.rglob("*") if path.is_file()}
    wrong = run(
        bench, "passphrase", "--new-passphrase-file", secret(tmp_path, NEW), under=secret(tmp_path, b"wrong one")
    )
    assert (wrong.code, "It is under the old passphrase" in wrong.err) == (8, True)
    short = run(bench, "passphrase", "--new-passphrase-file", secret(tmp_path, b"short"))
    same = run(bench, "passphrase", "--new-passphrase-file", bench.passphrase_file)
    assert (short.code, same.code) == (2, 2)
    assert {path: path.read_bytes() for path in bench.directory.rglob("*") if path.is_file()} == before


ODD = {
    b"\xef\xbb\xbfcorrect horse": "begins with a byte order mark",
    b"correct horse ": "begins or ends with blanks",
    b"correct horse\n\n": "has more than one line",
    b"correct\r\nhorse": "has more than one line",
    unicodedata.normalize("NFD", "schönes Pferd").encode(): "decomposed",
    b"sch\xf6nes Pferd": "is not UTF-8",
}


@pytest.mark.parametrize("content", ODD)
def test_an_odd_passphrase_file_is_told_and_goes_on_opening(
    bench: CustodyBench, tmp_path: Path, content: bytes
) -> None:
    """It makes no new keys and sets no passphrase; where it does not open, the reason is told; else it opens."""
    odd = secret(tmp_path, content)
    made = custody("keys", "--dir", tmp_path / "new", "--passphrase-file", odd, "--epochs", "1")
    assert (made.code, ODD[content] in made.err, (tmp_path / "new").exists()) == (8, True, False), made.err
    changed = run(bench, "passphrase", "--new-passphrase-file", odd)
    assert (changed.code, ODD[content] in changed.err) == (8, True)
    wrong = open_(bench, under=odd)
    assert (wrong.code, "the passphrase is wrong" in wrong.err, ODD[content] in wrong.err) == (8, True, True)
    old = tmp_path / "old"
    make_owner_keys(old, passphrase=content.removesuffix(b"\n"))
    added = custody("keys", "--dir", old, "--passphrase-file", odd, "--from", "2026-04-01", "--epochs", "1")
    assert added.code == 0, added.err


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_end_is_no_part_of_a_passphrase(bench: CustodyBench, tmp_path: Path, end: bytes) -> None:
    """One, of any system."""
    assert open_(bench, under=secret(tmp_path, PASSPHRASE + end)).code == 0


def test_text_in_utf_16_is_told(bench: CustodyBench, tmp_path: Path) -> None:
    """It has NUL bytes, which no passphrase may have; an editor's name for it is Unicode."""
    done = open_(bench, under=secret(tmp_path, PASSPHRASE.decode().encode("utf-16")))
    assert (done.code, "it is text in UTF-16, save it as UTF-8" in done.err) == (8, True)


def test_closing_a_case_destroys_its_key_and_says_what_becomes_unreadable(bench: CustodyBench) -> None:
    """One held read has its epoch's key still, the other has not; another case is not touched; the log tells it."""
    hold(bench)
    hold(bench, "2027-0816")
    assert run(bench, "destroy", "--before", "2026-03-02", "--reason", "x", "--yes").code == 0
    layout = bench.owner.layout
    other = [path for path in layout.cases.joinpath("2027-0816").rglob("*") if path.is_file()]
    done = run(bench, "close", *CASE, "--store", bench.receiver, "--yes", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["held"], answer["store"]) == (2, {"unreadable": 0, "readable": 2, "elsewhere": 0})
    assert not layout.case_key("2027-0815").parent.exists()
    assert all(path.exists() for path in other)
    closed = run(bench, "close", "--case", "2027-0816", "--reason", "x", "--store", bench.receiver, "--yes")
    assert "in the store: 1 reads become unreadable, 1 stay readable" in closed.out
    opened = open_(bench)
    assert [json.loads(line)["text"] for line in opened.out.splitlines()] == ["AB3123C", "XY4"]
    entries = json.loads(run(bench, "audit", "--json").out)["entries"]
    assert [(each["case"], each["count"]) for each in entries if each["action"] == "close"] == [
        ("2027-0815", 2),
        ("2027-0816", 2),
    ]


def test_a_closing_that_was_cut_off_is_told_and_finished(bench: CustodyBench) -> None:
    """The entry is there, the key is overwritten by half: nothing is blocked, no new hold mixes with it."""
    hold(bench)
    layout = bench.owner.layout
    AuditLog(bench.owner).append(Action.CLOSE, MANDATE, count=2)
    key = layout.case_key("2027-0815")
    key.write_bytes(bytes(key.stat().st_size))
    opened = open_(bench)
    cure = f"plateseal custody close --dir {bench.directory} --case 2027-0815 --reason TEXT"
    assert (opened.code, len(opened.out.splitlines()), cure in opened.err) == (0, 4, True), opened.err
    held = run(bench, "hold", "--store", bench.receiver, *CASE, "--plate", "XY*")
    assert (held.code, "is left of a closing that was cut off (entry 3)" in held.err) == (8, True), held.err
    assert cure in run(bench, "audit").err
    assert run(bench, "close", *CASE, "--yes").code == 0
    assert run(bench, "audit").code == 0
    again = run(bench, "close", *CASE, "--yes")
    assert (again.code, "is closed already" in again.err) == (2, True)
    hold(bench)
    assert key.exists()
    assert run(bench, "audit").code == 0


@pytest.mark.parametrize(
    ("options", "fault"), [(("--case", "never", "--reason", "x"), "has no key in"), (CASE, "--yes")]
)
def test_a_case_is_closed_only_if_it_is_one_and_confirmed(
    bench: CustodyBench, options: tuple[str, ...], fault: str
) -> None:
    """Otherwise nothing is entered."""
    hold(bench)
    before = bench.owner.layout.audit.read_bytes()
    done = run(bench, "close", *options)
    assert (done.code, fault in done.err) == (2, True), done.err
    assert bench.owner.layout.audit.read_bytes() == before


def test_a_copy_is_the_same_byte_for_byte_and_opens(bench: CustodyBench, tmp_path: Path) -> None:
    """Its own entry is in it; what is no part of the folder is named; nothing is overwritten."""
    hold(bench)
    (bench.directory / "notes.txt").write_text("x")
    out = tmp_path / "copy"
    done = run(bench, "copy", "--out", out, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"directory": str(out), "files": 10, "keys": 4, "left_out": ["notes.txt"]}
    copied = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert copied == {name: (bench.directory / name).read_bytes() for name in copied}
    assert len(copied) == 10
    options = ("--dir", out, "--passphrase-file", bench.passphrase_file)
    assert len(custody("open", *options, "--store", bench.receiver, *CASE, "--json").out.splitlines()) == 4
    assert json.loads(custody("audit", "--dir", out, "--json").out)["entries"][3]["action"] == "copy"
    assert run(bench, "copy", "--out", out).code == 2
    assert run(bench, "copy", "--out", bench.directory / "below").code == 2


def test_a_copy_that_is_another_than_the_folder_is_no_copy(
    bench: CustodyBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk wrote something else: read back, it is noticed."""
    create = durable.create_file

    def spoil(path: Path, data: bytes, *, mode: int) -> None:
        create(path, data[:-1] + b"\x00" if path.parent.name == "private" else data, mode=mode)

    monkeypatch.setattr("agent.keys.keyfiles.durable.create_file", spoil)
    done = run(bench, "copy", "--out", tmp_path / "copy")
    assert (done.code, "changed while it was copied, or the copy is another" in done.err) == (15, True), done.err


HALVES: dict[str, tuple[str, ...]] = {
    "owner.key": (
        "owner.key: is missing, though owner.pub, keyring.cose, ",
        "half a copy of the folder. Bring it back",
    ),
    "keyring.cose": ("keyring.cose: is missing, though serial 1 was signed: half a copy", "or from a unit"),
    "private": ("private: is missing: half a copy of the folder. Bring it back from a whole copy",),
    "audit.cose": ("audit.cose: is missing or empty, and had 2 entries", "--mend --reason TEXT"),
    "audit.head": ("may have been cut off: audit.head, which says where it ends, is missing", "--mend --reason TEXT"),
}


@pytest.mark.parametrize("missing", HALVES)
def test_half_a_copy_names_what_is_missing_and_the_cure(bench: CustodyBench, missing: str) -> None:
    """No new keys are made in it, whatever part did not arrive."""
    AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=1)
    path = bench.directory / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    made = run(bench, "keys", "--from", "2026-04-01", "--epochs", "1")
    assert made.code in (7, 8)
    for fragment in HALVES[missing]:
        assert fragment in made.err, made.err
    opened = open_(bench)
    if missing == "keyring.cose":
        assert (opened.code, len(opened.out.splitlines())) == (0, 4)
        assert all(fragment in opened.err for fragment in HALVES[missing]), opened.err
    else:
        assert opened.err.splitlines()[-1] in made.err
        assert opened.out == ""


def test_a_cases_key_that_did_not_arrive_is_told(bench: CustodyBench) -> None:
    """The log knows of the hold: reads of the case would seem to be closed for good."""
    hold(bench)
    shutil.rmtree(bench.owner.layout.cases)
    opened = open_(bench)
    assert opened.code == 0
    assert "case.key: is missing, though reads were held for the case 2027-0815 (entry 2): half a copy" in opened.err
    assert run(bench, "audit").code == 7
    hold(bench)
    assert run(bench, "audit").code == 0


def test_a_missing_public_half_is_told_and_written_again(bench: CustodyBench) -> None:
    """`audit`, which needs no passphrase, says which command does it; that command does."""
    public = bench.owner.layout.owner_public
    before = public.read_bytes()
    public.unlink()
    told = run(bench, "audit")
    assert (told.code, "owner.pub: is missing: half a copy" in told.err) == (8, True)
    assert open_(bench).code == 0
    assert public.read_bytes() == before


@pytest.mark.parametrize("data", [b"", bytes(100)])
def test_an_owner_key_without_content_is_told(bench: CustodyBench, data: bytes) -> None:
    """Not as one that is under no passphrase."""
    bench.owner.layout.owner_key.write_bytes(data)
    done = open_(bench)
    assert (done.code, "owner.key: is empty: half a copy of the folder" in done.err) == (8, True), done.err


def test_keys_go_on_after_all_were_destroyed(bench: CustodyBench) -> None:
    """Then no keyring is right: it is not taken for half a copy."""
    assert run(bench, "destroy", "--before", "2026-03-10", "--reason", "x", "--yes").code == 0
    AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=0)
    assert run(bench, "keys", "--from", "2026-04-01", "--epochs", "1").code == 0
