"""`plateseal custody audit`: the audit log, verified and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.cli.custody.options import AsJson, Directory, PassphraseFile, Who, mandate_of, parse_digest
from agent.cli.owner import shown, unlock
from agent.custody.audit import AuditLog, AuditReport, read_audit
from agent.custody.audit_check import CUT_OFF
from agent.custody.audit_entry import AuditEntry
from agent.custody.audit_head import cure, head_fault, was_used
from agent.custody.export import iso
from agent.custody.layout import OwnerLayout
from agent.custody.next_keyring import history_of
from agent.custody.owner import load_keyring, owner_public
from agent.custody.unfinished import unfinished
from agent.errors import AuditVerificationError, UsageError


def audit(
    directory: Directory,
    *,
    expect_head: Annotated[
        str | None,
        typer.Option(
            "--expect-head", metavar="HEX", help="A head noted earlier: the log must still hold everything up to it."
        ),
    ] = None,
    mend: Annotated[
        bool,
        typer.Option(
            "--mend", help="Set aside the half entry that a crash left at the end, or enter that the end is lost."
        ),
    ] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is mended; only with --mend.")] = "",
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Verify the audit log and print it: who, when, what, case, how many, why.

    Needs no private key. Says exactly what is wrong, and then exits with 7: also where the log does not end where
    audit.head says, and where keys that it says are destroyed are still in the folder. Note the head it prints, away
    from this machine: with --expect-head, the next time, it shows that nobody put an older state of both back.

    Example: plateseal custody audit --dir owner
    """
    expected = None if expect_head is None else parse_digest(expect_head, "--expect-head")
    layout = OwnerLayout(directory)
    if mend:
        if not reason.strip():
            raise UsageError("--reason: needed with --mend; it goes into the audit log")
        aside = AuditLog(unlock(directory, passphrase_file)).mend(mandate_of(who, "", reason))
        typer.echo("the loss is entered" if aside is None else f"the half entry is in {aside}", err=True)
    owner_key = owner_public(layout)
    if not layout.audit.exists() and was_used(layout):
        raise AuditVerificationError(f"{layout.audit}: is missing. {cure(layout)}")
    report = read_audit(layout.audit, owner_key)
    findings = [_with_cure(finding, directory) for finding in report.findings]
    findings += _findings_beside(layout, owner_key, report)
    if expected is not None and expected not in report.digests:
        findings.append(f"no entry has the head {expected.hex()}: the log was cut or replaced after that was noted")
    _print_audit(report, findings, as_json=as_json)
    if findings:
        raise AuditVerificationError("\n".join(f"{layout.audit}: {finding}" for finding in findings))


def _with_cure(finding: str, directory: Path) -> str:
    if not finding.startswith(CUT_OFF):
        return finding
    return f"{finding}. To set them aside: plateseal custody audit --dir {directory} --mend --reason TEXT"


def _findings_beside(layout: OwnerLayout, owner_key: Ed25519PublicKey, report: AuditReport) -> list[str]:
    """Return what the folder says against the log: where it should end, and keys that it says are destroyed."""
    fault = head_fault(layout, owner_key, report.entries, report.digests)
    return [
        *([] if fault is None else [f"{fault}. {cure(layout)}"]),
        *unfinished(layout, load_keyring(layout, owner_key), history_of(report.entries)),
    ]


def _print_audit(report: AuditReport, findings: list[str], *, as_json: bool) -> None:
    head = None if report.head is None else report.head.hex()
    if as_json:
        answer = {"entries": [_entry_json(entry) for entry in report.entries], "head": head, "findings": findings}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    if report.entries:
        typer.echo(f"{'no.':>5}  {'at (UTC)':<24}  {'who':<12}  {'action':<7}  {'count':>6}  {'case':<12}  reason")
    for entry in report.entries:
        typer.echo(
            f"{entry.seq:>5}  {iso(entry.at):<24}  {shown(entry.who):<12}  {entry.action:<7}  {entry.count:>6}  "
            f"{shown(entry.case):<12}  {shown(entry.reason)}"
        )
    verdict = f"{len(findings)} findings" if findings else "signatures and chain hold"
    typer.echo(f"{len(report.entries)} entries, {verdict}; head {head or 'none'}")


def _entry_json(entry: AuditEntry) -> dict[str, object]:
    answer: dict[str, object] = {
        "seq": entry.seq,
        "at": iso(entry.at),
        "who": entry.who,
        "action": str(entry.action),
        "case": entry.case,
        "reason": entry.reason,
        "count": entry.count,
        "ids": [one.hex() for one in entry.ids],
    }
    scope = entry.scope
    moments = {"from": scope.start, "until": scope.until, "before": scope.before}
    optional = {
        "by": list(scope.by) or None,
        **{name: None if moment is None else iso(moment) for name, moment in moments.items()},
        "camera": scope.camera,
        "serial": scope.serial,
    }
    return answer | {name: value for name, value in optional.items() if value is not None}
