"""Faults of the owner's audit log and cases, and what was cut off."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate, Scope
from agent.custody.destroy import plan_destruction
from agent.custody.next_keyring import key_history
from agent.custody.owner import Owner, unlock_owner
from agent.custody.passphrase_change import change_passphrase
from tests.fakes.owner import PASSPHRASE
from tests.faults.planted.acts import command, done, put, remove, write
from tests.faults.planted.fault import Fault, by_hand, printed
from tests.faults.planted.of_owner import AUDIT, OPEN, WITH, back, copied
from tests.faults.planted.site import Site

HOLD: Final = f"custody hold {WITH} --store {{receiver}} --case 2027-0815 --reason theft --camera demo"
DESTROY: Final = f"custody destroy {WITH} --before 10d --reason retention --yes"
TWO: Final = "--passphrase-file {passphrase} --new-passphrase-file {root}/new"
ANSWERS: Final = {"TEXT": "again --yes --passphrase-file {passphrase}"}
"""What a person says whom the printed command asks."""
MENDED: Final = printed("plateseal custody audit", {"TEXT": "lost --passphrase-file {passphrase}"})


def owner_of(site: Site) -> Owner:
    """Unlock the owner's folder."""
    return unlock_owner(site.owner, PASSPHRASE)


def _entered_destruction(site: Site) -> None:
    """A destruction was killed right after its entry, before the first file."""
    owner = owner_of(site)
    plan = plan_destruction(
        owner.layout, owner.keyring(), datetime.now(UTC) - timedelta(days=10),
        key_history(owner.layout, owner.public_key),
    )  # fmt: skip
    mandate = Mandate(who="max", reason="retention")
    scope = Scope(before=plan.before)
    AuditLog(owner).append(Action.DESTROY, mandate, count=len(plan.kids), ids=plan.kids, scope=scope)


def _keys_put_back(site: Site) -> None:
    """Destroyed keys came back with a copy of their files."""
    shutil.copytree(site.owner / "private", site.root / "kept")
    command(DESTROY)(site)
    shutil.copytree(site.root / "kept", site.owner / "private", dirs_exist_ok=True)


def _keyring_put_back(site: Site) -> None:
    """A destruction was killed before the keyring was signed."""
    shutil.copy(site.owner / "keyring.cose", site.root / "kept")
    command(DESTROY)(site)
    shutil.copy(site.root / "kept", site.owner / "keyring.cose")


def _closed_and_put_back(site: Site) -> None:
    """A closing was killed before the case's folder was erased."""
    command(HOLD)(site)
    shutil.copytree(site.owner / "cases", site.root / "kept")
    command(f"custody close {WITH} --case 2027-0815 --reason over --yes")(site)
    shutil.copytree(site.root / "kept", site.owner / "cases", dirs_exist_ok=True)


class _CutOffError(Exception):
    """Stands for a kill."""


def _change_cut_off(site: Site) -> None:
    """A change of the passphrase was killed when two files were under the new one."""

    def kill(number: int, _: int) -> None:
        if number == 2:
            raise _CutOffError

    new = site.root / "new"
    new.write_bytes(b"another horse battery\n")
    new.chmod(0o600)
    with suppress(_CutOffError):
        change_passphrase(site.owner, PASSPHRASE, b"another horse battery", Mandate(who="max"), watch=kill)
    assert (site.owner / "passphrase.change").exists()


def _half_entry(site: Site) -> None:
    with (site.owner / "audit.cose").open("ab") as log:
        log.write((site.owner / "audit.cose").read_bytes()[:60])


def _lost_entry(site: Site) -> None:
    """The log's newest entry was cut off, and audit.head knows of it."""
    kept = (site.owner / "audit.cose").read_bytes()
    command(OPEN)(site)
    (site.owner / "audit.cose").write_bytes(kept)


FAULTS: Final = (
    Fault(
        "a case's key is not in the folder",
        AUDIT,
        done(command(HOLD), copied, remove("{owner}/cases")),
        ("case.key: is missing, though reads were held for the case 2027-0815",),
        (back("Bring it back from a whole copy", "cases"),),
    ),
    Fault(
        "the audit log is not there",
        OPEN,
        done(copied, remove("{owner}/audit.cose")),
        ("audit.cose: is missing or empty",),
        (back("Bring audit.cose and audit.head back", "audit.cose", "audit.head"),),
    ),
    Fault(
        "the audit log is empty",
        OPEN,
        done(copied, write("{owner}/audit.cose", b"")),
        ("audit.cose: is missing or empty",),
        (back("Bring audit.cose and audit.head back", "audit.cose", "audit.head"),),
    ),
    Fault(
        "the audit log is lost for good",
        OPEN,
        remove("{owner}/audit.cose"),
        ("audit.cose: is missing or empty",),
        (printed("plateseal custody audit", {"TEXT": "lost --passphrase-file {passphrase}"}, code=7),),
    ),
    Fault(
        "the end of the audit log is not there", AUDIT, _lost_entry, ("was cut off: it ends with entry 0",), (MENDED,)
    ),
    Fault(
        "audit.head is not there",
        OPEN,
        done(copied, remove("{owner}/audit.head")),
        ("audit.head, which says where it ends, is missing",),
        (back("Bring audit.cose and audit.head back", "audit.cose", "audit.head"),),
    ),
    Fault(
        "the last write of the audit log was cut off", AUDIT, _half_entry, ("the last write was cut off",), (MENDED,)
    ),
    Fault(
        "an entry of the audit log was altered",
        AUDIT,
        done(
            copied,
            lambda site: write(
                "{owner}/audit.cose",
                (site.owner / "audit.cose").read_bytes().replace(b"root", b"rood", 1).replace(b"keys", b"keyz", 1),
            )(site),
        ),
        ("audit.cose: ",),
        (back("copy", "audit.cose", "audit.head"),),
    ),
    Fault(
        "a destruction was cut off",
        AUDIT,
        _entered_destruction,
        ("destroyed 1 keys, and 1 of them are still in",),
        (printed("plateseal custody destroy", ANSWERS),),
    ),
    Fault(
        "destroyed keys were put back",
        AUDIT,
        _keys_put_back,
        ("destroyed 1 keys, and 1 of them are still in",),
        (printed("plateseal custody destroy", ANSWERS),),
    ),
    Fault(
        "the keyring lists destroyed keys",
        AUDIT,
        _keyring_put_back,
        ("lists 1 destroyed keys",),
        (printed("plateseal custody destroy", ANSWERS),),
    ),
    Fault(
        "a case's closing was cut off",
        AUDIT,
        _closed_and_put_back,
        ("closed the case 2027-0815",),
        (printed("plateseal custody close", ANSWERS),),
    ),
    Fault(
        "a change of the passphrase was cut off",
        OPEN,
        _change_cut_off,
        ("a change of the passphrase was cut off",),
        (
            printed("plateseal custody passphrase", {"passphrase": f"passphrase {TWO}"}),
            by_hand("with the same two", put("{root}/new", "{passphrase}")),
        ),
    ),
)
