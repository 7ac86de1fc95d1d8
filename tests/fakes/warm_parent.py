"""A process that has imported what our programs import, and forks one of them whenever it is asked.

    python -P tests/fakes/warm_parent.py DESCRIPTOR "ROOM FOR WORDS"

Importing takes a program longer than most of the commands that tests run. What comes out of the fork is a process like
any other, with its own id, words, folder, environment, streams, signals and end. Only the imports were done before. A
program that starts others has such a parent of its own, which is forked before it.

Owns: the fork, and what a start sets up; asking for one in place of `subprocess`. Leaves to others: in which tests
starts may be so (`tests/warm_starts.py`). It has no thread of its own, and ends when the other end of its socket is
closed, whose descriptor it is given.
"""

from __future__ import annotations

import ctypes
import gc
import inspect
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TextIO, TypedDict

INTERPRETER: Final = sys.executable
"""Of the parent; a test may have replaced `sys.executable`."""
PROGRAMS: Final = ("agent.cli.main", "agent.bench.contestant", "tests.fakes.rtsp_plain_server")
DAEMONS: Final = (("capture",), ("upload",), ("receiver", "serve"))
STARTED_BY: Final = {"demo": DAEMONS, "run": DAEMONS[:2]}
"""Commands that start others, by their first words."""
MAY_DIFFER: Final = ("HOME", "PATH", "PYTEST_", "TMPDIR", "TZ", "XDG_")
"""How variables begin that nothing reads while it is imported."""
LIBRARIES: Final = "LD_LIBRARY_PATH"
"""Read by the system's loader, when a process begins. Without its empty entries, as our processes are started."""
AS_EVER: Final = {
    "executable": None, "preexec_fn": None, "close_fds": True, "pass_fds": (), "shell": False, "restore_signals": True,
    "gid": None, "gids": None, "uid": None, "umask": -1, "process_group": -1,
}  # fmt: skip
"""What a warm start may not ask for, by the names that `subprocess` gives it, with the values that ask for nothing."""
PIPES: Final = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
ROOM_BYTES: Final = 8192
"""For the words of a program."""
_PR_SET_CHILD_SUBREAPER: Final = 36
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


class Starts:
    """Stands in for what `subprocess` does to start a process.

    Attributes:
        is_on: Whether starts may be warm now.
        count: How many were.
    """

    def __init__(self, line: socket.socket, given: Mapping[str, str]) -> None:
        """Begin.

        Args:
            line: Where a parent of programs is asked.
            given: The environment that it had before it imported anything.
        """
        self.is_on = False
        self.count = 0
        self._line = line
        self._given = given
        self._lock = threading.Lock()
        self._real = subprocess.Popen._execute_child  # type: ignore[attr-defined]  # where every start comes through
        self._signature = inspect.signature(self._real)

        def execute_child(process: subprocess.Popen[Any], *args: Any, **keywords: Any) -> None:
            self._execute_child(process, *args, **keywords)

        execute_child.__signature__ = self._signature  # type: ignore[attr-defined]  # what inspect looks for
        subprocess.Popen._execute_child = execute_child  # type: ignore[attr-defined]  # as above

    def end(self) -> None:
        """Leave starts to `subprocess` again, and let the parent end."""
        subprocess.Popen._execute_child = self._real  # type: ignore[attr-defined]  # as above
        self._line.close()

    def _execute_child(self, process: subprocess.Popen[Any], *args: Any, **keywords: Any) -> None:
        """Stand in for the start of a process."""
        asked = self._signature.bind(process, *args, **keywords).arguments
        request = request_of(asked, self._given) if self.is_on else None
        if request is None:
            self._real(process, *args, **keywords)
            return
        ends = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        self.count += 1
        process.pid = self._start(request, [number if end == -1 else end for number, end in enumerate(ends)])
        process._child_created = True  # type: ignore[attr-defined]  # or else nobody waits for it
        process._close_pipe_fds(*(asked[name] for name in PIPES))  # type: ignore[attr-defined]  # ours keep theirs open

    def _start(self, request: Request, streams: Sequence[int]) -> int:
        """Ask for a start, and return the number of the process, which is a child of this one."""
        with self._lock:
            _adopt_orphans(wanted=True)
            try:
                socket.send_fds(self._line, [json.dumps(request).encode()], streams)
                number = int(self._line.recv(MOST_BYTES))
                self._line.recv(MOST_BYTES)  # the process between has ended
            finally:
                _adopt_orphans(wanted=False)
        return number


def request_of(asked: Mapping[str, Any], given: Mapping[str, str]) -> Request | None:
    """Return how to ask for a start by its parent; None where it must be a real one.

    Args:
        asked: What `subprocess` was asked for, by its own names.
        given: The parent's environment.
    """
    words = [os.fsdecode(word) for word in asked["args"]] if isinstance(asked["args"], list | tuple) else []
    interpreter, *options = words or [""]
    is_safe = options[:1] == ["-P"]
    dash, module, *arguments = [*options[is_safe:], "", ""]
    folder = os.path.abspath(os.fsdecode(asked["cwd"] or "."))  # noqa: PTH100  links stay as they are
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in (asked["env"] or os.environ).items()}
    differing = dict(_as_read(environment).items() ^ _as_read(given).items())
    if (
        (interpreter, dash) != (INTERPRETER, "-m")
        or module not in PROGRAMS
        or any(asked[name] != value for name, value in AS_EVER.items())
        or not all(name.startswith(MAY_DIFFER) for name in differing)
        or not os.access(folder, os.X_OK)
        or sum(len(word) for word in words) > ROOM_BYTES // 2
    ):
        return None
    return Request(
        words=words, module=module, arguments=arguments[:-2], is_safe=is_safe, folder=folder,
        environment=environment, umask=_umask(), is_session=bool(asked["start_new_session"]),
    )  # fmt: skip


def _as_read(environment: Mapping[str, str]) -> dict[str, str]:
    folders = filter(None, environment.get(LIBRARIES, "").split(":"))
    return {**environment, LIBRARIES: ":".join(folders)}


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _adopt_orphans(*, wanted: bool) -> None:
    """Say whether a descendant whose parent ends becomes a child of this process, or of the system's first, as ever."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    """Serve starts until nobody can ask any more; in each process that was started, run it."""
    mask = set(
        map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]))
    )  # a Ctrl-C is for whoever asks, and for children
    _serve(socket.socket(fileno=int(sys.argv[1])), dict(os.environ), mask)


def _serve(line: socket.socket, given: Mapping[str, str], mask: set[int]) -> None:
    while True:
        message, descriptors, *_ = socket.recv_fds(line, MOST_BYTES, 3)
        if not message:
            return
        request: Request = json.loads(message)
        others = STARTED_BY.get(request["arguments"][0], ()) if request["arguments"] else ()
        for arguments in (request["arguments"], *others):
            _import_for(request["module"], arguments)
        if _is_started(line):
            line.close()
            if not others:
                _run(request, descriptors, given, mask)
            elif ours := _starts_of_its_own(descriptors, given, mask):
                ours.is_on = True
                _run(request, descriptors, given, mask)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _starts_of_its_own(descriptors: Sequence[int], given: Mapping[str, str], mask: set[int]) -> Starts | None:
    """Fork a parent for what a program will start, and return how it is asked; None in that parent, at its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if _fork():
        theirs.close()
        return Starts(ours, given)
    ours.close()
    for descriptor in descriptors:
        os.close(descriptor)
    _serve(theirs, given, mask)
    return None


def _run(request: Request, descriptors: Sequence[int], given: Mapping[str, str], mask: set[int]) -> None:
    _set_up(request, descriptors, given)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


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
