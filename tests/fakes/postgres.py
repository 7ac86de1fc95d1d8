"""A PostgreSQL of the tests' own: a cluster in a temporary folder, on a unix socket, run by a user without rights.

`initdb` refuses root, so as root it is Debian's user `postgres` who runs it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, Self

import psycopg

from tests.fakes.waiting import wait_until
from tests.needs import postgres_programs

USER: Final = "plateseal"
_SETTINGS: Final = """
listen_addresses = ''
max_connections = 60
shared_buffers = 64MB
"""


class Cluster:
    """A running cluster.

    Attributes:
        folder: All of it is in it, and its socket.
    """

    def __init__(self, *, settings: str = "", checksums: bool = True, copy_of: Cluster | None = None) -> None:
        """Make it and start it.

        Args:
            settings: Lines for its configuration.
            checksums: Whether pages have them.
            copy_of: Make a standby of this one, which applies its log.
        """
        programs = postgres_programs()
        assert programs is not None
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._data = self.folder / "data"
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        if copy_of is None:
            options = ["--data-checksums"] if checksums else []
            self._run("initdb", "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", *options, str(self._data))
        else:
            source = f"host={copy_of.folder} user={USER} application_name={self.name}"
            self._run("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "-D", str(self._data), "-d", source)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{_SETTINGS}unix_socket_directories = '{self.folder}'\n{settings}\n")
        self.start()

    @property
    def name(self) -> str:
        """What its primary knows it by, where it is a standby."""
        return self.folder.name.replace("-", "_")

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-t", "120", "-D", str(self._data), "-l", log)

    def kill(self) -> None:
        """Kill the postmaster and all its children at once, as a power cut of the machine's would."""
        master = int((self._data / "postmaster.pid").read_text().split()[0])
        processes = [master, *_children(master)]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not any(map(_lives, processes)))
        for left in (self._data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            left.unlink(
                missing_ok=True
            )  # its number may be a process's still: that of one whose end nobody has asked for

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "-w", "-t", "120", "-D", str(self._data))

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Do one statement, as the owner of everything, and return its rows."""
        with closing(psycopg.connect(self.url(database), autocommit=True)) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description is not None else []

    def new_database(self) -> str:
        """Make an empty database; return its address."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it without ceremony, and remove it."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        done = subprocess.run(
            command, cwd="/", env=clean | {"LC_ALL": "C"}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (program, done.stderr)


def _children(parent: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
