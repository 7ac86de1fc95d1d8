"""`plateseal custody`: the owner's keys, and what is done with them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent.errors import AuditVerificationError, CustodyError, UsageError
from agent.wire.suites import KeyType

if TYPE_CHECKING:
    from agent.custody.audit import AuditEntry, AuditReport, Mandate
    from agent.custody.destroy import Consequence, Destruction
    from agent.custody.opener import OpenedRead
    from agent.custody.search import Query, Tally

app = typer.Typer(
    no_args_is_help=True, help="The owner's tools. Keep them, and the keys they make, away from every device."
)

_HEX_ID_CHARS: Final = 64
_MAX_KEYS_SHOWN: Final = 20

Directory = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the owner's keys are kept.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="File (mode 0600) with the passphrase of the key files; asked for on the terminal if left out.",
    ),
]
Store = Annotated[
    Path, typer.Option("--store", metavar="RECEIVER", help="The receiver's folder, or the envelopes.db in it.")
]
Case = Annotated[str, typer.Option("--case", metavar="ID", help="The case it is for; goes into the audit log.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the audit log. No plates.")]
Who = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who you are, for the audit log; your account if left out.")
]
Plate = Annotated[
    str | None,
    typer.Option("--plate", metavar="PATTERN", help="Plate; ? is any one character, * any number, as in 'AB?123*'."),
]
Start = Annotated[
    str | None, typer.Option("--from", metavar="T", help="Captured at or after this day or time (ISO 8601, UTC).")
]
End = Annotated[
    str | None, typer.Option("--to", metavar="T", help="Captured before this time, or by the end of this day.")
]
Camera = Annotated[str | None, typer.Option("--camera", metavar="NAME", help="Captured by this camera.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def keys(
    directory: Directory,
    *,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", metavar="NAME", help="Whose keys; may be given several times.")
    ] = None,
    key_type: Annotated[KeyType, typer.Option("--type", help="Type of the recipient keys.")] = KeyType.HYBRID,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First day (UTC, YYYY-MM-DD); today if left out.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="How many epochs.")] = 30,
    epoch: Annotated[str, typer.Option(help="Length of an epoch: a number and m, h or d.")] = "24h",
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the key files open to whoever reads them. For a bench.")
    ] = False,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Make recipient keys for the epochs to come, and the signed keyring that devices seal to.

    The private keys are closed with a passphrase, which is asked for unless it comes from a file.

    Example: plateseal custody keys --dir owner --from 2027-01-01 --epochs 90 --epoch 24h
    """
    from agent.cli.durations import parse_duration  # noqa: PLC0415
    from agent.cli.owner import making_passphrase, parse_day  # noqa: PLC0415
    from agent.custody.keys import KEYRING, OWNER_PUBLIC, make_keys  # noqa: PLC0415

    first_day = _today() if start is None else parse_day(start, "--from")
    length = parse_duration(epoch, "--epoch")
    made = make_keys(
        directory,
        recipients=recipient or ["agency"],
        key_type=key_type,
        start=first_day,
        epochs=epochs,
        epoch=length,
        passphrase=making_passphrase(directory, passphrase_file, none=no_passphrase),
        mandate=_mandate(who),
    )
    first, last = made.added[0].valid_from, made.added[-1].valid_until
    if as_json:
        answer = {
            "keyring": str(directory / KEYRING),
            "owner_key": str(directory / OWNER_PUBLIC),
            "serial": made.keyring.serial,
            "added": [{"kid": key.kid.hex(), "recipient": key.recipient} for key in made.added],
            "from": first.isoformat(),
            "until": last.isoformat(),
        }
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{len(made.added)} {key_type} keys, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"  for the devices: {directory / KEYRING} (serial {made.keyring.serial}), {directory / OWNER_PUBLIC}")
    typer.echo(f"  to keep: {directory}/owner.key and {directory}/private; without them no read opens")


@app.command("open")
def open_(
    directory: Directory,
    store: Store,
    case: Case,
    reason: Reason,
    *,
    plate: Plate = None,
    start: Start = None,
    end: End = None,
    camera: Camera = None,
    crops: Annotated[
        Path | None, typer.Option("--crops", metavar="FOLDER", help="Also write the pictures of the plates there.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each read.")] = False,
) -> None:
    """Open the reads that fit, after entering it in the audit log. Without a filter, all of them.

    Every envelope's signature is checked. Reads held for the case open with the case's key. What cannot be opened is
    counted at the end, by reason.

    Example: plateseal custody open --dir owner --store receiver --case 2027-08 --reason "hit and run" --plate 'AB?123*'
    """
    from agent.cli.owner import Progress, open_receiver, unlock  # noqa: PLC0415
    from agent.custody.access import check_mandate, open_reads  # noqa: PLC0415
    from agent.custody.search import Tally  # noqa: PLC0415

    query, mandate = _query(plate, start, end, camera, ()), _mandate(who, case, reason)
    check_mandate(mandate, query)
    progress, tally = Progress("opening"), Tally()
    with open_receiver(store, progress) as receiver:
        owner = unlock(directory, passphrase_file)
        _make_crops_folder(crops)
        is_first = True
        for batch in open_reads(owner, receiver, query, mandate, tally=tally):
            progress.clear()
            _print_reads(batch, as_json=as_json, heading=is_first)
            is_first = False
            if crops is not None:
                for opened in batch:
                    _write_crop(crops, opened)
    _print_tally(tally, err=as_json)


@app.command()
def hold(
    directory: Directory,
    store: Store,
    case: Case,
    reason: Reason,
    *,
    plate: Plate = None,
    start: Start = None,
    end: End = None,
    camera: Camera = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ENVELOPE_ID", help="This read; may be given several times.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Hold reads for a case, so that they open with the case's key when their epoch's key is destroyed.

    The case's key is made the first time. At least one filter is needed.

    Example: plateseal custody hold --dir owner --store receiver --case 2027-0815 --reason "hit and run" --plate AB1234
    """
    from agent.cli.owner import Progress, open_receiver, unlock  # noqa: PLC0415
    from agent.custody.access import check_mandate, hold_reads  # noqa: PLC0415

    query, mandate = _query(plate, start, end, camera, ids or ()), _mandate(who, case, reason)
    check_mandate(mandate, query)
    with open_receiver(store, Progress("holding")) as receiver:
        held = hold_reads(unlock(directory, passphrase_file), receiver, query, mandate)
    if as_json:
        answer = {"case": case, "held": list(held.reads), "new_case": held.new_case, **_tally_json(held.tally)}
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{len(held.reads)} reads are held for case {case}{', whose key is new' if held.new_case else ''}")
    _print_tally(held.tally, err=False)


@app.command()
def destroy(
    directory: Directory,
    before: Annotated[
        str, typer.Option("--before", metavar="AGE|DATE", help="Epochs that ended this long ago (30d), or by this day.")
    ],
    reason: Reason,
    *,
    case: Annotated[str, typer.Option("--case", metavar="ID", help="A case it is for, if any.")] = "",
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="RECEIVER", help="Count what becomes unreadable in this receiver's store."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the private keys of old epochs: their reads become unreadable, wherever copies of them are.

    Shows first what would become unreadable and what is held for cases, and asks. Copies and backups of the key files
    are yours to destroy; with one of them the reads open again.

    Example: plateseal custody destroy --dir owner --before 30d --reason "retention" --store receiver
    """
    from agent.cli.owner import Progress, confirm, open_receiver, parse_before, unlock  # noqa: PLC0415
    from agent.custody.destroy import destroy as destroy_keys  # noqa: PLC0415
    from agent.custody.destroy import plan_destruction, weigh  # noqa: PLC0415

    moment, mandate = parse_before(before), _mandate(who, case, reason)
    if not reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    owner = unlock(directory, passphrase_file)
    plan = plan_destruction(owner.layout, owner.keyring(), moment)
    consequence = None
    if store is not None and plan.keys:
        with open_receiver(store, Progress("counting")) as receiver:
            consequence = weigh(plan, owner.layout, receiver)
    if not as_json:
        _print_plan(plan, consequence)
    if plan.keys and not yes:
        confirm("Destroy these keys for good?")
    destroyed = destroy_keys(owner, plan, mandate) if plan.keys else 0
    if as_json:
        typer.echo(json.dumps(_plan_json(plan, consequence, destroyed)))
    elif destroyed:
        typer.echo(
            f"{destroyed} keys are destroyed. Copies and backups of {directory / 'private'} are yours to destroy."
        )


@app.command()
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
        bool, typer.Option("--mend", help="Set aside the half entry that a crash left at the end, and enter that.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is mended; only with --mend.")] = "",
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Verify the audit log and print it: who, when, what, case, how many, why.

    Needs no private key. Says exactly what is wrong, and then exits with 7. Note the head it prints, away from this
    machine: with --expect-head, the next time, it shows that no entry before it was cut off.

    Example: plateseal custody audit --dir owner
    """
    from agent.cli.owner import unlock  # noqa: PLC0415
    from agent.custody.audit import AuditLog, read_audit  # noqa: PLC0415
    from agent.custody.layout import OwnerLayout  # noqa: PLC0415
    from agent.keys.keyfiles import load_ed25519_public  # noqa: PLC0415

    expected = None if expect_head is None else _digest(expect_head, "--expect-head")
    layout = OwnerLayout(directory)
    if mend:
        if not reason.strip():
            raise UsageError("--reason: needed with --mend; it goes into the audit log")
        aside = AuditLog(unlock(directory, passphrase_file)).mend(_mandate(who, "", reason))
        typer.echo(f"the half entry is in {aside}", err=True)
    report = read_audit(layout.audit, load_ed25519_public(layout.owner_public))
    findings = list(report.findings)
    if expected is not None and expected not in report.digests:
        findings.append(f"no entry has the head {expected.hex()}: the log was cut or replaced after that was noted")
    _print_audit(report, findings, as_json=as_json)
    if findings:
        raise AuditVerificationError("\n".join(f"{layout.audit}: {finding}" for finding in findings))


@app.command()
def export(
    directory: Directory,
    store: Store,
    *,
    envelope_id: Annotated[str, typer.Option("--id", metavar="ENVELOPE_ID", help="The read, as `open` names it.")],
    case: Case,
    reason: Reason,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new or empty folder.")],
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Export one read for a court, with everything to verify it by other people's tools.

    The folder gets the envelope, its neighbours in the chain, the receipt, the camera's public key, the opened read,
    its picture, the key of this one read, and VERIFY.md, which says how to check them.

    Example: plateseal custody export --dir owner --store receiver --id ID --case 2027-08 --reason trial --out x
    """
    from agent.cli.owner import Progress, open_receiver, unlock  # noqa: PLC0415
    from agent.custody.access import check_mandate  # noqa: PLC0415
    from agent.custody.export import export_read  # noqa: PLC0415

    wanted, mandate = _digest(envelope_id, "--id").hex(), _mandate(who, case, reason)
    check_mandate(mandate)
    with open_receiver(store, Progress("looking for it")) as receiver:
        owner = unlock(directory, passphrase_file)
        exported = export_read(owner, receiver, wanted, mandate, out=out, receipt_key=receiver.receipt_public)
    if as_json:
        answer = {"directory": str(out), "files": list(exported.files), "missing": list(exported.missing)}
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{out}: {', '.join(exported.files)}")
    for line in exported.missing:
        typer.echo(f"  without {line}")


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _mandate(who: str | None, case: str = "", reason: str = "") -> Mandate:
    from agent.custody.audit import Mandate, account_name  # noqa: PLC0415

    return Mandate(who=account_name() if who is None else who, case=case, reason=reason)


def _query(
    plate: str | None, start: str | None, end: str | None, camera: str | None, ids: list[str] | tuple[()]
) -> Query:
    from agent.cli.owner import parse_moment  # noqa: PLC0415
    from agent.custody.plates import parse_pattern  # noqa: PLC0415
    from agent.custody.search import Query  # noqa: PLC0415

    since = None if start is None else parse_moment(start, "--from")
    until = None if end is None else parse_moment(end, "--to", end_of_day=True)
    if since is not None and until is not None and since >= until:
        raise UsageError("--to: is not after --from")
    return Query(
        plate=None if plate is None else parse_pattern(plate),
        start=since,
        end=until,
        camera=camera,
        ids=frozenset(_digest(text, "--id").hex() for text in ids),
    )


def _digest(text: str, option: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(text) != _HEX_ID_CHARS or 2 * len(digest) != _HEX_ID_CHARS:
        raise UsageError(f"{option} {text[:80]}: not {_HEX_ID_CHARS} hex digits")
    return digest


def _print_reads(batch: list[OpenedRead], *, as_json: bool, heading: bool) -> None:
    from agent.cli.owner import shown  # noqa: PLC0415
    from agent.custody.export import iso, read_as_json  # noqa: PLC0415

    if as_json:
        for opened in batch:
            typer.echo(json.dumps(read_as_json(opened.envelope, opened.read), ensure_ascii=False))
        return
    if heading:
        typer.echo(f"{'captured (UTC)':<24}  {'plate':<10}  {'camera':<16}  {'sure':<4}  {'direction':<11}  envelope")
    for opened in batch:
        read = opened.read
        sure = sum(read.confidences) / len(read.confidences) / 1000 if read.confidences else 0.0
        typer.echo(
            f"{iso(read.captured_at):<24}  {shown(read.text):<10}  {shown(read.camera):<16}  {sure:.2f}  "
            f"{read.direction:<11}  {opened.envelope.envelope_id}"
        )


def _print_tally(tally: Tally, *, err: bool) -> None:
    typer.echo(f"{tally.matched} reads fit, of {tally.scanned} messages in the store", err=err)
    for reason, count in tally.unopened.items():
        typer.echo(f"  not opened: {count} {reason}", err=err)


def _tally_json(tally: Tally) -> dict[str, object]:
    unopened = {reason.name.lower(): count for reason, count in tally.unopened.items()}
    return {
        "scanned": tally.scanned,
        "matched": tally.matched,
        "tombstones": tally.tombstones,
        "unopened": unopened,
    }


def _make_crops_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--crops {folder}: cannot be made: {error.strerror}") from None


def _write_crop(folder: Path, opened: OpenedRead) -> None:
    """Write a picture in clear, because the user asked for it: for the user's eyes only."""
    if not opened.read.crop:
        return
    path = folder / f"{opened.envelope.envelope_id}.jpg"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(opened.read.crop)
    except OSError as error:
        raise CustodyError(f"{path}: cannot be written: {error.strerror}") from None


def _print_plan(plan: Destruction, consequence: Consequence | None) -> None:
    typer.echo(
        f"epochs that ended by {plan.before:%Y-%m-%d %H:%M} UTC: {len(plan.keys)} keys to destroy, {plan.left} stay"
    )
    for key in plan.keys[:_MAX_KEYS_SHOWN]:
        span = f"{key.valid_from:%Y-%m-%d %H:%M} to {key.valid_until:%Y-%m-%d %H:%M}"
        typer.echo(f"  {key.recipient}  {span}  {key.kid.hex()[:16]}")
    if len(plan.keys) > _MAX_KEYS_SHOWN:
        typer.echo(f"  and {len(plan.keys) - _MAX_KEYS_SHOWN} more")
    for key in plan.newest:
        typer.echo(f"  beware: {key.recipient} has no newer key; units go on sealing to {key.kid.hex()[:16]}")
    if plan.not_in_keyring:
        typer.echo(f"  {plan.not_in_keyring} private keys are not in the keyring and stay")
    typer.echo(f"  held for cases: {plan.held} reads; they open with their case's key")
    if consequence is not None:
        typer.echo(
            f"  in the store: {consequence.unreadable} reads become unreadable, {consequence.held} stay readable as "
            f"held, {consequence.readable} stay readable, {consequence.unreadable_already} are unreadable already"
        )


def _plan_json(plan: Destruction, consequence: Consequence | None, destroyed: int) -> dict[str, object]:
    from agent.custody.export import iso  # noqa: PLC0415

    answer: dict[str, object] = {
        "before": iso(plan.before),
        "destroyed": destroyed,
        "keys": [
            {
                "kid": key.kid.hex(),
                "recipient": key.recipient,
                "from": iso(key.valid_from),
                "until": iso(key.valid_until),
            }
            for key in plan.keys
        ],
        "left": plan.left,
        "held": plan.held,
    }
    if consequence is not None:
        answer["store"] = {
            "unreadable": consequence.unreadable,
            "held": consequence.held,
            "readable": consequence.readable,
            "unreadable_already": consequence.unreadable_already,
        }
    return answer


def _print_audit(report: AuditReport, findings: list[str], *, as_json: bool) -> None:
    from agent.cli.owner import shown  # noqa: PLC0415
    from agent.custody.export import iso  # noqa: PLC0415

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
    from agent.custody.export import iso  # noqa: PLC0415

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
