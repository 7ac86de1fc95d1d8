"""`plateseal custody index`: what makes a search quick, closed with the keys of the reads."""

from __future__ import annotations

import typer

from agent.cli.custody import options
from agent.cli.custody.options import mandate_of
from agent.cli.owner import Progress, open_receiver, unlock
from agent.cli.until import UntilCtrlC
from agent.custody.indexing import make_index
from agent.errors import INTERRUPTED


def index(
    directory: options.Directory,
    store: options.Store,
    reason: options.Reason = "index of the store; no read is shown",
    *,
    passphrase_file: options.PassphraseFile = None,
    who: options.Who = None,
) -> None:
    """Enter the store's new reads in the index in the owner's folder, so that a plate is found in seconds.

    Each read is opened once, after entering that in the audit log, and nothing of it is shown. The index is closed with
    the keys of the reads, and goes with them. `open` and `hold` use it, and open what it does not cover. Run it every
    night; Ctrl-C keeps what was done so far.

    Example: plateseal custody index --dir owner --store receiver --passphrase-file owner.pass
    """
    progress, mandate = Progress("indexing"), mandate_of(who, reason=reason)
    with open_receiver(store, progress) as receiver:
        owner = unlock(directory, passphrase_file)
        with UntilCtrlC() as until:
            done = make_index(owner, receiver, mandate, may_go_on=until.may_go_on)
    typer.echo(f"{done.reads} reads entered in {owner.layout.index}, in {done.files} files")
    if done.left:
        typer.echo(f"  not opened: {done.left} messages; a search goes on looking at each of them")
    if done.removed:
        typer.echo(f"  removed: {done.removed} files, as the keys of their reads are destroyed")
    if not done.is_whole:
        typer.echo("  stopped; what is left is entered the next time")
        raise typer.Exit(INTERRUPTED)
