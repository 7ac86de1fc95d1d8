"""What the receiver's commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.folders import STORES, Kind, kind_check

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="The receiver's folder.", callback=kind_check(Kind.RECEIVER))
]
AnyStore = Annotated[
    Path, typer.Argument(metavar="DIR", help="The receiver's folder, or a copy.", callback=kind_check(*STORES))
]
