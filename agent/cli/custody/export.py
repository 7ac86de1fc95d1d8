"""`plateseal custody export`: one read for a court."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody.options import (
    AsJson,
    Case,
    Directory,
    PassphraseFile,
    Reason,
    Store,
    Who,
    mandate_of,
    parse_digest,
)
from agent.cli.owner import Progress, open_receiver, unlock
from agent.custody.access import check_mandate
from agent.custody.export import export_read


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
    wanted, mandate = parse_digest(envelope_id, "--id").hex(), mandate_of(who, case, reason)
    check_mandate(mandate)
    with open_receiver(store, Progress("looking for it")) as receiver:
        owner = unlock(directory, passphrase_file)
        exported = export_read(owner, receiver, wanted, mandate, out=out, receipt_keys=receiver.receipt_keys)
    if as_json:
        answer = {"directory": str(out), "files": list(exported.files), "missing": list(exported.missing)}
        answer["doubts"] = list(exported.doubts)
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{out}: {', '.join(exported.files)}")
    for line in exported.missing:
        typer.echo(f"  without {line}")
    for line in exported.doubts:
        typer.echo(f"  doubt: {line}")
