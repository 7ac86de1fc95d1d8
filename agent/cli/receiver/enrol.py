"""`plateseal receiver enrol`: a unit is let in, or its certificate is renewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.durations import parse_duration
from agent.cli.options import AsJson
from agent.cli.receiver.options import Directory
from agent.keys.identity import TLS_CERTIFICATE_NAME
from agent.keys.keyfiles import PUBLIC_MODE, replace_file
from agent.receiver.admission.pki import DEFAULT_OVERLAP, IssuedCertificate, enrol
from agent.receiver.admission.renewals import RenewalBook
from agent.receiver.layout import ReceiverLayout
from agent.receiver.missing import missing_parts_named


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
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", metavar="FILE", help="A CA of your own has issued this one for the request."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Enrol a unit and issue its TLS certificate; for a unit that is enrolled, renew it.

    With a rotation.cose that the unit's enrolled key has signed, the new key follows the old one, and reads that the
    old key signed before are still taken. `receiver revoke` ends a unit's right to send.

    Example: plateseal receiver enrol bench/receiver enrolment.json --out tls.pem
    """
    lasts = parse_duration(overlap, "--overlap")
    with missing_parts_named(directory):
        issued = enrol(directory, enrolment, another_key=another_key, overlap=lasts, certificate=certificate)
    target = out or enrolment.with_name(TLS_CERTIFICATE_NAME)
    replace_file(target, issued.pem, PUBLIC_MODE)
    fetches = RenewalBook(ReceiverLayout(directory)).hand_out(issued.key_id, issued.pem)
    if as_json:
        typer.echo(json.dumps(_issued_json(issued, target)))
        return
    _print_issued(issued, target)
    if fetches:
        typer.echo("The unit has asked for it and fetches it itself, over the connection that it has.")


def _issued_json(issued: IssuedCertificate, certificate: Path) -> dict[str, object]:
    return {
        "device": issued.device,
        "key_id": issued.key_id.hex(),
        "certificate": str(certificate),
        "expires_at": issued.expires_at.isoformat(),
        "other_keys": issued.other_keys,
        "replaces": None if issued.replaced is None else issued.replaced.hex(),
        "overlap_until": None if issued.overlap_until is None else issued.overlap_until.isoformat(),
    }


def _print_issued(issued: IssuedCertificate, certificate: Path) -> None:
    typer.echo(
        f"{issued.device}: key {issued.key_id.hex()[:16]} is enrolled, certificate until {issued.expires_at:%Y-%m-%d}"
    )
    typer.echo(f"Put {certificate} where the unit's configuration has it (upload.certificate).")
    if issued.replaced is not None:
        typer.echo(
            f"It follows key {issued.replaced.hex()[:16]}, whose certificates connect until the new one has delivered "
            f"something, {issued.overlap_until:%Y-%m-%d} at the latest; reads that it signed until now are still taken."
        )
    elif issued.other_keys:
        typer.echo(f"{issued.device} has {issued.other_keys} other key(s) still; `plateseal receiver revoke` ends one.")
