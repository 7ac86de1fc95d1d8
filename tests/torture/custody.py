"""SIGKILL at every step of what changes an owner's folder; then every next command goes on, or says what is left.

Each act runs in a process of its own on a copy of the same folder, and dies before its n-th system call that changes
files, or in the middle of a write; n grows until the act ends by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent.custody.audit_entry import Action
from agent.custody.layout import OwnerLayout
from agent.custody.owner import unlock_owner
from tests.fakes.custody_bench import make_custody_bench
from tests.fakes.custody_cli import CASE, Done, custody
from tests.fakes.owner import PASSPHRASE
from tests.torture.fleet import WARM
from tests.torture.places import quick_folder
from tests.torture.report import Result

TARGET: Final = (
    "SIGKILL at every step of destroy, close, passphrase and copy: no next command is blocked without a line that "
    "names the cure, nothing opens with a key that is entered as destroyed, and the act run again finishes it"
)
CALLS: Final = ("write", "fsync", "fdatasync", "unlink", "rename", "ftruncate", "mkdir", "rmdir")
STEP_AT_REDUCED: Final = 4
"""A reduced run dies at each fourth step."""
NEW: Final = b"another passphrase"


@dataclass(frozen=True)
class Bench:
    """An owner's folder that an act has been at, and what it works on."""

    root: Path
    third_read: str

    def run(self, command: str, *more: str | Path, under: str = "old") -> Done:
        """Run a command on it."""
        return custody(command, "--dir", self.root / "owner", "--passphrase-file", self.root / under, *more)

    @property
    def layout(self) -> OwnerLayout:
        """The owner's files."""
        return OwnerLayout(self.root / "owner")

    def open(self, *, under: str = "old") -> Done:
        """Open everything for the case."""
        return self.run("open", "--store", self.root / "receiver", *CASE, "--json", under=under)

    def copy(self, root: Path) -> Bench:
        """Return the same in another place."""
        shutil.copytree(self.root, root)
        return replace(self, root=root)


def destroy(bench: Bench) -> Done:
    """Destroy the key of the first day."""
    return bench.run("destroy", "--before", "2026-03-02", "--reason", "retention", "--yes")


def close(bench: Bench) -> Done:
    """Close the case that holds a read."""
    return bench.run("close", *CASE, "--yes")


def passphrase(bench: Bench) -> Done:
    """Put the files under another passphrase."""
    return bench.run("passphrase", "--new-passphrase-file", bench.root / "new")


def copy(bench: Bench) -> Done:
    """Copy the folder."""
    return bench.run("copy", "--out", bench.root / "copied")


ACTS: Final[dict[str, Callable[[Bench], Done]]] = {
    "destroy": destroy,
    "close": close,
    "passphrase": passphrase,
    "copy": copy,
}


def die_at(step: int) -> None:
    """Kill this process before its system call of that number; a write is done by half."""
    done = 0

    def between(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done > step:
                if name == "write":
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return called

    for name in CALLS:
        setattr(os, name, between(name, getattr(os, name)))


def act_in_child(name: str, bench: Bench, step: int) -> None:
    """Do an act, and die at a step of it."""
    die_at(step)
    done = ACTS[name](bench)
    os._exit(0 if done.code == 0 else 9)


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Kill each act at each of its steps, and look at what is left."""
    began_s = time.monotonic()
    kills, faults = Counter[str](), list[str]()
    with quick_folder("custody") as folder:
        template = _set_up(Path(folder))
        for name in ACTS:
            step = 0
            while _cut_off(name, template, step, faults):
                kills[name] += 1
                step += 1 if full else STEP_AT_REDUCED
            say(f"{name}: {kills[name]} kills, {len(faults)} faults")
    told = ", ".join(f"{count} {name}" for name, count in kills.items())
    figures = f"{kills.total()} kills ({told}); {len(faults)} faults{': ' + faults[0] if faults else ''}"
    return Result("custody", TARGET, figures, len(kills) == len(ACTS) and not faults, time.monotonic() - began_s)


def _set_up(folder: Path) -> Bench:
    root = folder / "template"
    root.mkdir()
    bench = Bench(root, make_custody_bench(root).envelopes[2].envelope_id)
    (root / "passphrase").rename(root / "old")
    for name, content in (("old", PASSPHRASE), ("new", NEW)):
        (root / name).write_bytes(content)
        (root / name).chmod(0o600)
    held = bench.run("hold", "--store", root / "receiver", *CASE, "--plate", "AB1123")
    assert held.code == 0, held.err
    return bench


def _cut_off(name: str, template: Bench, step: int, faults: list[str]) -> bool:
    """Do an act up to a step, judge what is left; return whether the act was killed."""
    bench = template.copy(template.root.with_name(f"{name}-{step}"))
    process = WARM.Process(target=act_in_child, args=(name, bench, step))
    process.start()
    process.join()
    code = process.exitcode
    if code not in (0, -signal.SIGKILL):
        faults.append(f"{name} at step {step}: ended with {code}")
    faults.extend(f"{name} at step {step}: {fault}" for fault in JUDGES[name](bench))
    for path in template.root.parent.glob(f"{name}-{step}*"):
        shutil.rmtree(path)
    return code == -signal.SIGKILL


def _others(bench: Bench) -> list[str]:
    """Run every command on copies of what is left; return what is wrong with their answers."""
    out = bench.root / "out"
    commands = {
        "open": ("--store", bench.root / "receiver", *CASE),
        "hold": ("--store", bench.root / "receiver", *CASE, "--plate", "AB3*"),
        "export": ("--store", bench.root / "receiver", *CASE, "--id", bench.third_read, "--out", out),
        "keys": ("--from", "2026-05-01", "--epochs", "1", "--type", "x25519"),
        "audit": (),
    }
    faults = []
    for command, options in commands.items():
        twin = bench.copy(bench.root.with_name(f"{bench.root.name}-{command}"))
        done = twin.run(command, *options)
        shutil.rmtree(twin.root)
        shutil.rmtree(out, ignore_errors=True)
        if "under no passphrase" in done.err or (done.code and "plateseal custody" not in done.err):
            faults.append(f"{command} ends with {done.code}: {done.err.strip()}")
    return faults


def _mend(bench: Bench) -> None:
    """Set half an entry aside, as the commands say."""
    if "--mend" in bench.open().err:
        mended = bench.run("audit", "--mend", "--reason", "crash")
        assert mended.code in (0, 7), mended.err


def _entered(bench: Bench, action: Action) -> bool:
    entries = json.loads(bench.run("audit", "--json").out)["entries"]
    return any(entry["action"] == action for entry in entries)


def judge_destroy(bench: Bench) -> list[str]:
    """The first day's reads open or do not, as the log says; the second destruction leaves nothing of the key."""
    faults = _others(bench)
    _mend(bench)
    texts = {json.loads(line)["text"] for line in bench.open().out.splitlines()}
    expected = {"AB1123", "AB3123C", "XY4"} | (set() if _entered(bench, Action.DESTROY) else {"XY2"})
    if texts != expected:
        faults.append(f"opens {sorted(texts)} instead of {sorted(expected)}")
    again = destroy(bench)
    if again.code or len(list(bench.layout.private.iterdir())) != 1:
        faults.append(f"run again: {again.code} {again.err} {sorted(bench.layout.private.iterdir())}")
    keyring = unlock_owner(bench.layout.directory, PASSPHRASE).keyring()
    if len(keyring.keys) != 1:
        faults.append(f"the keyring lists {len(keyring.keys)} keys")
    return [*faults, *_audit_faults(bench)]


def judge_close(bench: Bench) -> list[str]:
    """Closing again leaves nothing of the case."""
    faults = _others(bench)
    _mend(bench)
    again = close(bench)
    is_done = again.code == 2 and ("is closed already" in again.err)
    if (again.code and not is_done) or any(bench.layout.cases.glob("*")):
        faults.append(f"run again: {again.code} {again.err}")
    return [*faults, *_audit_faults(bench)]


def judge_passphrase(bench: Bench) -> list[str]:
    """Each file is under one of the two; the change run again ends, and then the new one opens all."""
    faults = [] if bench.layout.passphrase_change.exists() else _others_under_either(bench)
    if bench.open(under="old").code == 7:
        _mend(bench)
    again = passphrase(bench)
    if again.code and "It is under the old passphrase" not in again.err:
        faults.append(f"run again: {again.code} {again.err}")
    opened = bench.open(under="new")
    if (opened.code, len(opened.out.splitlines())) != (0, 4):
        faults.append(f"the new passphrase: {opened.code} {opened.err}")
    if drafts := [path.name for path in bench.layout.directory.rglob("*.new") if not path.name.startswith(".")]:
        faults.append(f"drafts are left: {drafts}")
    return faults


def _others_under_either(bench: Bench) -> list[str]:
    codes = [bench.open(under=each).code for each in ("old", "new")]
    return [] if sorted(codes) in ([0, 8], [7, 8]) else [f"old and new passphrase end with {codes}"]


def judge_copy(bench: Bench) -> list[str]:
    """The folder is as it was; half a copy says so to every command, and gets no new keys."""
    faults = _others(bench)
    _mend(bench)
    half = bench.root / "copied"
    if half.is_dir() and any(half.rglob("*.*")):
        options = ("--dir", half, "--passphrase-file", bench.root / "old")
        opened = custody("open", *options, "--store", bench.root / "receiver", *CASE, "--json")
        made = custody("keys", *options, "--from", "2026-05-01", "--epochs", "1")
        is_whole = (opened.code, len(opened.out.splitlines())) == (0, 4)
        if not is_whole and ("half a copy" not in opened.err or "half a copy" not in made.err):
            faults.append(f"half a copy: {opened.code} {opened.err} {made.code} {made.err}")
    return [*faults, *_audit_faults(bench)]


JUDGES: Final[dict[str, Callable[[Bench], list[str]]]] = {
    "destroy": judge_destroy,
    "close": judge_close,
    "passphrase": judge_passphrase,
    "copy": judge_copy,
}


def _audit_faults(bench: Bench) -> list[str]:
    audit = bench.run("audit", "--json")
    return [f"audit: {finding}" for finding in json.loads(audit.out)["findings"]]


__all__ = ["run"]
