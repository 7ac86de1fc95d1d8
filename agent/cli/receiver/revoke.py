"""`plateseal receiver revoke`: the end of a unit's right to send."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.owner import parse_moment
from agent.cli.receiver.options import Directory
from agent.receiver.admission.revoke import Revocation
from agent.receiver.admission.revoke import revoke as revoke_keys


def revoke(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The unit's name.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the unit's record.")],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="LOG|TIME",
            help="Last entry of the log that is still the unit's, or when its reads stop being its own (UTC). "
            "Default: the end of the log.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="ID", help="End this key only: the beginning of its id. Default: all its keys."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """End a unit's right to send, after a theft or a copied key. It takes effect at once and is not undone.

    What the log has up to that point stays genuine: `receiver verify` and `custody open` go on with it. What comes
    after is refused, and `receiver verify` names what is there already. A second time, only an earlier point is
    allowed.

    Example: plateseal receiver revoke bench/receiver cam-1 --at 2027-03-01T22:15 --reason "stolen from its mast"
    """
    ended = revoke_keys(directory, name, reason=reason, at=_point(at), key_id=key)
    if as_json:
        typer.echo(json.dumps(_as_json(ended)))
        return
    for key_id in ended.key_ids:
        typer.echo(f"{ended.device}: key {key_id.hex()[:16]} is revoked after log {ended.after}")
    if ended.after < ended.log_end:
        entries = f"{ended.after + 1} to {ended.log_end}"
        typer.echo(f"Entries {entries} by it are not genuine any more; `plateseal receiver verify` lists them.")


def _point(at: str | None) -> int | datetime | None:
    if at is None:
        return None
    return int(at) if at.isascii() and at.isdecimal() and len(at) <= 16 else parse_moment(at, "--at")


def _as_json(ended: Revocation) -> dict[str, object]:
    return {
        "device": ended.device,
        "key_ids": [key_id.hex() for key_id in ended.key_ids],
        "after": ended.after,
        "log_end": ended.log_end,
    }
