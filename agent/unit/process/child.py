"""How a process of ours starts another one.

Owns: the command, and the environment. Leaves to others: the process, its files and its end.
"""

from __future__ import annotations

import os
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


def own_environment() -> dict[str, str]:
    """Return this process's environment for another one of ours.

    Entries of `LD_LIBRARY_PATH` that are empty are left out: they stand for the working directory, whose libraries
    would be loaded, whoever put them there. OpenCV's loader leaves one behind in each process that imports it.
    """
    environment = dict(os.environ)
    folders = [folder for folder in environment.pop("LD_LIBRARY_PATH", "").split(":") if folder]
    return environment | ({"LD_LIBRARY_PATH": ":".join(folders)} if folders else {})
