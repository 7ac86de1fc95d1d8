"""What `spool verify` says of files that cannot be read."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.errors import SpoolError
from agent.spool.check import check_pending
from agent.spool.reader import SpoolReader
from agent.spool.spool import FileSpool
from agent.wire.cose import ed25519_kid
from tests.fakes.envelopes import make_chain

KEY = Ed25519PrivateKey.generate()


class BadSector(LocalFiles):
    """A disk that cannot read one file."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self, path: Path, *, limit_bytes: int) -> bytes:
        """As the port."""
        if path.name == self._name:
            raise SpoolError("spool: Input/output error")
        return super().read(path, limit_bytes=limit_bytes)


def test_a_file_that_cannot_be_read_does_not_end_the_check(tmp_path: Path) -> None:
    """It has a flaw of its own, and the others are looked at."""
    directory = tmp_path / "spool"
    spool = FileSpool(directory, max_bytes=1 << 20, files=LocalFiles())
    envelopes = make_chain(KEY, 4)
    for envelope in envelopes:
        spool.put(envelope)
    bad = envelopes[0].envelope_id
    folder = "a" * 64
    (directory / "pending" / folder).mkdir()
    keys = {ed25519_kid(KEY.public_key()): KEY.public_key()}
    checked = {each.name: each.flaw for each in check_pending(SpoolReader(directory, BadSector(bad)), keys.get)}
    assert checked.pop(f"{folder}/") == "a name that no envelope has"
    assert checked.pop(bad) == "spool: Input/output error"
    assert list(checked.values()) == [None] * 3
