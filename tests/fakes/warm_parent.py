"""A process that has imported what our programs import, and forks one of them whenever it is asked.

    python -P tests/fakes/warm_parent.py DESCRIPTOR "ROOM FOR WORDS"

Importing takes a program longer than most of the commands that tests run. What comes out of the fork is a process like
any other, with its own id, words, folder, environment, streams, signals and end. Only the imports were done before.

Owns: the fork, and what a start sets up. Leaves to others: which starts may be so (`tests/warm_starts.py`). It has no
thread of its own, and ends when the other end of its socket is closed, whose descriptor it is given.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final, TextIO, TypedDict

MOST_BYTES: Final = 1 << 17
"""Of a request, which is one message."""
_ARGUMENTS: Final = slice(48 - 3, 50 - 3)
"""Where a process's words begin and end in its memory: fields 48 and 49 of /proc/self/stat, without the first two."""


class Request(TypedDict):
    """One start.

    Attributes:
        words: The whole command, from the interpreter on.
        module: What is run, by its full name.
        arguments: What the module is given.
        is_safe: Whether Python's `-P` was given; if not, modules are looked for in the folder first.
        folder: Where it runs.
        environment: All of its variables.
        umask: Its mask of permission bits.
        is_session: Whether it leads a session of its own.
    """

    words: list[str]
    module: str
    arguments: list[str]
    is_safe: bool
    folder: str
    environment: dict[str, str]
    umask: int
    is_session: bool


def main() -> None:
    """Serve starts until nobody can ask any more; in each process that was started, run it."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a Ctrl-C is for whoever asks, and for children
    line = socket.socket(fileno=int(sys.argv[1]))
    given = dict(os.environ)
    while True:
        message, descriptors, *_ = socket.recv_fds(line, MOST_BYTES, 3)
        if not message:
            return
        request: Request = json.loads(message)
        _import_for(request["module"], request["arguments"])
        if _is_started(line):
            line.close()
            _set_up(request, descriptors, given)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _import_for(module: str, arguments: Sequence[str]) -> None:
    """Import what a program imports: all that its module does, and the modules of a command that its words name.

    The module itself is forgotten: Python runs it as `__main__`. What cannot be imported is the program's own matter.
    """
    before = len(sys.modules)
    with suppress(ImportError):
        import_module(module)
    sys.modules.pop(module, None)
    name = module.rpartition(".")[0]
    for word in arguments[:2]:
        name = f"{name}.{word.replace('-', '_')}"
        try:
            import_module(name)
        except ImportError:
            break
    if len(sys.modules) > before:
        gc.collect()
        gc.freeze()  # or else the first collection of each child would copy all of it


def _is_started(line: socket.socket) -> bool:
    """Fork twice and tell, which process goes on, the new one or this; the other end is told the new one's number.

    The process between the two ends at once, so that the new one becomes a child of whoever asked.
    """
    held, holds = os.pipe()
    if _fork():
        os.wait()
        os.close(held)
        os.close(holds)  # now the new process goes on, whose parent is the right one
        line.send(b"ready")
        return False
    if number := _fork():
        line.send(str(number).encode())
        os._exit(0)
    os.close(holds)
    os.read(held, 1)
    os.close(held)
    return True


def _fork() -> int:
    """Fork without Python's warning of threads: NumPy ends its own before, and starts them again where needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _set_up(request: Request, descriptors: Sequence[int], given: Mapping[str, str]) -> None:
    """Give this process what a start gives; `given` is the environment before anything was imported."""
    if request["is_session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    imports_set = {name: value for name, value in os.environ.items() if given.get(name) != value}
    os.environ.clear()
    os.environ.update(imports_set | request["environment"])
    time.tzset()
    tempfile.tempdir = None
    streams = {
        "stdin": _stream(sys.stdin, 0, "r"),
        "stdout": _stream(sys.stdout, 1, "w", is_lines=os.isatty(1)),
        "stderr": _stream(sys.stderr, 2, "w", is_lines=True),
    }
    vars(sys).update(streams | {f"__{name}__": stream for name, stream in streams.items()})
    sys.argv = ["-m", *request["arguments"]]
    sys.orig_argv = request["words"]
    if not request["is_safe"]:
        sys.path.insert(0, request["folder"])
    _show(request["words"])


def _stream(old: TextIO, descriptor: int, mode: str, *, is_lines: bool = False) -> TextIO:
    """Open a standard stream as Python does at a start; what variables say of streams, the one before knows."""
    assert isinstance(old, io.TextIOWrapper)
    is_raw = old.write_through
    binary = open(descriptor, mode + "b", buffering=0 if is_raw else -1, closefd=False)  # noqa: SIM115  never closed
    return io.TextIOWrapper(
        binary, old.encoding, old.errors, newline="\n", line_buffering=is_lines and not is_raw, write_through=is_raw
    )


def _show(words: Sequence[str]) -> None:
    """Have /proc show the program's own words, in place of this one's."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = map(int, fields[_ARGUMENTS])
    shown = b"".join(os.fsencode(word) + b"\0" for word in words)
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    main()
