"""`plateseal receiver`: the reference receiver."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.durations import parse_duration
from agent.errors import VerificationError
from agent.keys.identity import TLS_CERTIFICATE_NAME
from agent.keys.keyfiles import PUBLIC_MODE, replace_file, write_private
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import DEFAULT_HOSTS, DEFAULT_OVERLAP, enrol, init_receiver, issue_operator
from agent.receiver.intake.verification import ChainReport, finding_lines, verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import EnvelopeStore
from agent.wire.tombstone import LossReason

DEFAULT_PORT = 8443
PASSPHRASE_BYTES = 15
"""120 bits, 20 characters to type once."""
LOSSES = {LossReason.OVERFLOW: "overflowed", LossReason.EXPIRED: "expired", LossReason.EVICTED: "evicted"}
"""What became of reads that a unit's own bounds forced out; also the names in the JSON report."""

app = typer.Typer(no_args_is_help=True, help="Run the reference receiver and enrol units with it.")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The receiver's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("init")
def init(
    directory: Directory,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help=f"Name or address that units use; again for more. Default: {', '.join(DEFAULT_HOSTS)}."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a bench receiver: CA, server certificate, receipt key, empty store. Overwrites nothing.

    Example: plateseal receiver init bench/receiver --host reads.example.org
    """
    hosts = host or list(DEFAULT_HOSTS)
    layout = init_receiver(directory, hosts=hosts)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "directory": str(directory),
                    "ca": str(layout.ca),
                    "receipt_key": str(layout.receipt_public),
                    "hosts": hosts,
                }
            )
        )
        return
    typer.echo(f"{directory}: a receiver for {', '.join(hosts)}")
    typer.echo(f"Units need {layout.ca.name} and {layout.receipt_public.name} from it; the .key files stay here.")


@app.command("enrol")
def enrol_device(
    directory: Directory,
    enrolment: Annotated[
        Path,
        typer.Argument(metavar="ENROLMENT", help="The unit's enrolment.json, or the rotation.cose of its next key."),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="CERT",
            help=f"Where its certificate goes. Default: {TLS_CERTIFICATE_NAME} beside ENROLMENT.",
        ),
    ] = None,
    another_key: Annotated[
        bool, typer.Option("--another-key", help="Allow a second key for a unit that has one.")
    ] = False,
    overlap: Annotated[
        str,
        typer.Option(help="After a rotation: how long the old TLS certificate still connects; a number and m, h or d."),
    ] = f"{DEFAULT_OVERLAP.days}d",
    as_json: AsJson = False,
) -> None:
    """Enrol a unit and issue its TLS certificate; for a unit that is enrolled, renew it.

    With a rotation.cose that the unit's enrolled key has signed, the new key follows the old one, and reads that the
    old key signed are still taken. To end a unit's right to send, remove its file from DIR/devices; it takes effect at
    once.

    Example: plateseal receiver enrol bench/receiver enrolment.json --out tls.pem
    """
    issued = enrol(directory, enrolment, another_key=another_key, overlap=parse_duration(overlap, "--overlap"))
    certificate = out or enrolment.with_name(TLS_CERTIFICATE_NAME)
    replace_file(certificate, issued.pem, PUBLIC_MODE)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "device": issued.device,
                    "key_id": issued.key_id.hex(),
                    "certificate": str(certificate),
                    "expires_at": issued.expires_at.isoformat(),
                    "other_keys": issued.other_keys,
                    "replaces": None if issued.replaced is None else issued.replaced.hex(),
                    "overlap_until": None if issued.overlap_until is None else issued.overlap_until.isoformat(),
                }
            )
        )
        return
    typer.echo(
        f"{issued.device}: key {issued.key_id.hex()[:16]} is enrolled, certificate until {issued.expires_at:%Y-%m-%d}"
    )
    typer.echo(f"Put {certificate} beside the unit's keys.")
    if issued.replaced is not None:
        typer.echo(
            f"It follows key {issued.replaced.hex()[:16]}, whose certificates connect until "
            f"{issued.overlap_until:%Y-%m-%d}; reads that it signed are still taken."
        )
    elif issued.other_keys:
        typer.echo(
            f"{issued.device} has {issued.other_keys} other key(s) still; to end one, remove its file from devices/."
        )


@app.command("operator")
def operator(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name: a-z, 0-9, '.', '_', '-'.")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the key and certificate go. Default: NAME.p12.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a person see the fleet page: make a certificate that their browser imports, and the passphrase for that.

    It opens the page and nothing else. The passphrase is shown once. To end it, remove its file from DIR/operators; it
    takes effect at once.

    Example: plateseal receiver operator bench/receiver anna --out anna.p12
    """
    passphrase = secrets.token_urlsafe(PASSPHRASE_BYTES)
    target = out or Path(f"{name}.p12")
    issued = issue_operator(directory, name, passphrase=passphrase)
    write_private(target, issued.pkcs12)
    if as_json:
        found = {"name": name, "file": str(target), "passphrase": passphrase, "operator": str(issued.file)}
        typer.echo(json.dumps({**found, "expires_at": issued.expires_at.isoformat()}))
        return
    typer.echo(f"{target}: for {name}'s browser, until {issued.expires_at:%Y-%m-%d}; passphrase {passphrase}")
    typer.echo(f"Then open https://RECEIVER/fleet there. To end it, remove {issued.file}.")


@app.command("serve")
def serve(
    directory: Directory,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="TCP port; 0 picks a free one.")] = DEFAULT_PORT,
    port_file: Annotated[
        Path | None, typer.Option("--port-file", metavar="FILE", help="Gets the port once the receiver listens.")
    ] = None,
) -> None:
    """Take envelopes from enrolled units until SIGTERM or Ctrl-C.

    Example: plateseal receiver serve bench/receiver --host 0.0.0.0 --port 8443
    """
    from agent.receiver.intake import server  # noqa: PLC0415  # its packages are slow to import
    from agent.unit.process.journal import log_to  # noqa: PLC0415
    from agent.unit.process.watchdog import ServiceManager  # noqa: PLC0415

    log_to(sys.stderr)
    manager = ServiceManager.of_this_process()

    def ready(line: str) -> None:
        manager.status(line)
        manager.ready()

    hooks = server.ServeHooks(ready=ready, alive=manager.alive)
    server.serve(directory, host=host, port=port, port_file=port_file, hooks=hooks)


@app.command("verify")
def verify(directory: Directory, as_json: AsJson = False) -> None:
    """Check every stored envelope, and name what is missing, altered, forged, reordered or replayed.

    Exits 0 only if every chain is continuous. Reads that a unit's own bounds forced out are listed as
    overflowed (never accepted: the spool was full), expired (waited too long) or evicted (the oldest in a full spool):
    the unit has signed for them. What follows a chain's last stored envelope is not known here.

    Example: plateseal receiver verify bench/receiver --json
    """
    layout = ReceiverLayout(directory)
    with EnvelopeStore.open_read_only(layout.store) as store:
        reports = verify_store(store, DeviceBook(layout.devices))
    if as_json:
        typer.echo(json.dumps([_report_json(report) for report in reports]))
    else:
        _print_reports(reports)
    broken = sum(not report.is_continuous for report in reports)
    if broken:
        raise VerificationError(f"{directory}: {broken} of {len(reports)} chains are not continuous")


def _report_json(report: ChainReport) -> dict[str, object]:
    return {
        "device": report.device,
        "key_id": report.device_kid.hex(),
        "chain": report.chain.hex(),
        "envelopes": report.envelopes,
        "last_seq": report.last_seq,
        "explained": report.explained,
        **{name: report.lost[reason] for reason, name in LOSSES.items()},
        "continuous": report.is_continuous,
        "findings": [
            {"kind": finding.kind, "from": finding.first_seq, "to": finding.last_seq, "detail": finding.detail}
            for finding in report.findings
        ],
    }


def _print_reports(reports: list[ChainReport]) -> None:
    for report in reports:
        state = "continuous" if report.is_continuous else "NOT CONTINUOUS"
        losses = [(report.lost[reason], name) for reason, name in LOSSES.items()]
        by_policy = "".join(f", {count} {what} by the unit's own bounds" for count, what in losses if count)
        typer.echo(
            f"{report.device} chain {report.chain.hex()[:8]}: {report.envelopes} envelopes, "
            f"seq 0 to {report.last_seq}, {state}{by_policy}"
        )
        for line in finding_lines(report):
            typer.echo(f"  {line}")
    if not reports:
        typer.echo("the store is empty")
