"""`plateseal receiver`: the reference receiver."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from agent.errors import ReceiverError
from agent.receiver.pki import DEFAULT_HOSTS, enrol, init_receiver
from agent.seal.identity import TLS_CERTIFICATE_NAME
from agent.seal.keyfiles import PUBLIC_MODE, replace_file

DEFAULT_PORT = 8443

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
    enrolment: Annotated[Path, typer.Argument(metavar="ENROLMENT", help="The unit's enrolment.json.")],
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
    as_json: AsJson = False,
) -> None:
    """Enrol a unit and issue its TLS certificate; for a unit that is enrolled, renew it.

    To end a unit's right to send, remove its file from DIR/devices; it takes effect at once.

    Example: plateseal receiver enrol bench/receiver enrolment.json --out tls.pem
    """
    issued = enrol(directory, enrolment, another_key=another_key)
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
                }
            )
        )
        return
    typer.echo(
        f"{issued.device}: key {issued.key_id.hex()[:16]} is enrolled, certificate until {issued.expires_at:%Y-%m-%d}"
    )
    typer.echo(f"Put {certificate} beside the unit's keys.")
    if issued.other_keys:
        typer.echo(
            f"{issued.device} has {issued.other_keys} other key(s) still; to end one, remove its file from devices/."
        )


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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        from agent.receiver import server  # noqa: PLC0415  # the extra's packages, which a unit does not have
    except ImportError as error:
        raise ReceiverError(f"{error.name} is missing, run: pip install 'plateseal[receiver]'") from None
    server.serve(directory, host=host, port=port, port_file=port_file)
