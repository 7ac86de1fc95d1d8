"""`plateseal receiver receipt-key`: another key signs receipts."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.receiver.options import Directory
from agent.receiver.admission.receipt_change import prepare_change, take_change


def receipt_key(
    directory: Directory,
    *,
    take: Annotated[bool, typer.Option("--take", help="Sign with the prepared key from now on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change the key that signs receipts: prepare the next one, then take it; earlier receipts stay good.

    The first run writes DIR/receipt.pub.next with both public keys. Bring it to every unit as its receipt.pub; a unit
    takes it without a restart. Then run it again with --take, and restart the receiver.

    Example: plateseal receiver receipt-key /var/lib/plateseal-receiver --take
    """
    change = take_change(directory) if take else prepare_change(directory)
    if as_json:
        found = {"old_key_id": change.old_key_id.hex(), "new_key_id": change.new_key_id.hex()}
        typer.echo(json.dumps({**found, "taken": take, "units_pin": str(change.file)}))
        return
    if take:
        typer.echo(f"{directory}: receipt key {change.new_key_id.hex()[:16]} follows {change.old_key_id.hex()[:16]}.")
        typer.echo("Now: systemctl restart plateseal-receiver. Kept receipts of the key before it are still checked.")
        typer.echo(f"When every unit has delivered something, {change.file} alone may be their receipt.pub.")
        return
    typer.echo(f"{directory}: receipt key {change.new_key_id.hex()[:16]} is prepared; nothing is signed with it yet.")
    typer.echo(f"Bring {change.file} to every unit as its receipt.pub, then run this again with --take.")
