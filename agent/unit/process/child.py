"""How a process of ours starts another one.

Owns: the command. Leaves to others: the process, its files and its end.
"""

from __future__ import annotations

import sys


def own_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules as a process of its own, with this Python.

    `-P`: Python does not look for modules in the working directory. Otherwise a folder `agent` there, whoever made it,
    would be run instead of the installed package.

    Args:
        module: Its full name, as in `agent.cli.main`.
        arguments: What it is given.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
