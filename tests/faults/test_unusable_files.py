"""One file that cannot be used stops no other: real file systems, real owners, real kernels.

What the spool does where no link can be made is also in its contract suite, on a disk that refuses every link, and in
the crash states, where that disk loses power.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.models import UploadConfig
from agent.disk.files import LocalFiles
from agent.errors import SpoolFileError
from agent.records import Envelope, SpoolState
from agent.spool.newest import find_marks
from agent.spool.spool import FileSpool
from agent.unit.capture.eviction import plan_eviction
from agent.upload.worker import UploadWorker
from agent.wire.cose import ed25519_kid
from agent.wire.protocol import Answer, Refused, Stored
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import make_chain
from tests.fakes.files import NoLinks
from tests.fakes.receipts import PINNED, honest_receipt, proof
from tests.fakes.receiver import ReceiverSimulator
from tests.fakes.rights import as_user

KEY = Ed25519PrivateKey.generate()
USER, OTHER = 65534, 65533
"""Two of no consequence."""


class Bench:
    """A spool with twelve envelopes, a receiver that refuses some, and a worker between them."""

    def __init__(self, root: Path, *, refuses: Callable[[Envelope], bool] = lambda _: False) -> None:
        self.root = root
        self.receiver = ReceiverSimulator()
        self.receiver.script.extend([lambda batch: [self._answer(each) for each in batch]] * 50)
        self.envelopes = make_chain(KEY, 12, run=0)
        self._refuses = refuses
        spool = self.open()
        spool.recover_puts()
        for envelope in self.envelopes:
            spool.put(envelope)

    def open(self) -> FileSpool:
        """Open the spool as a daemon does."""
        return FileSpool(self.root / "spool", max_bytes=1 << 20, files=LocalFiles(), erasers=4)

    def deliver(self) -> None:
        """Start as upload does, and deliver until nothing can be sent."""
        spool = self.open()
        spool.recover_shreds()
        paths = dict.fromkeys(("ca", "certificate", "key", "receiver_key"), Path("unused"))
        self.worker = UploadWorker(
            spool=spool,
            transport=self.receiver,
            receiver_keys=PINNED,
            device_key={ed25519_kid(KEY.public_key()): KEY.public_key()}.get,
            settings=UploadConfig.model_validate({"url": "https://localhost:1", **paths}),
            clock=FakeClock(),
            stop=threading.Event(),
        )
        while self.worker.step():
            pass

    def path(self, envelope: Envelope, state: str = SpoolState.PENDING) -> Path:
        """Return where an envelope lies, or would."""
        return self.root / "spool" / state / envelope.envelope_id

    def names(self, state: str) -> set[str]:
        """Return what lies in one of the spool's directories, but for marks and reasons."""
        found = {path.name for path in (self.root / "spool" / state).iterdir()}
        return {name for name in found if not name.startswith("newest-") and not name.endswith(".reason")}

    def _answer(self, envelope: Envelope) -> Answer:
        return Refused("fork") if self._refuses(envelope) else Stored(honest_receipt(envelope))


@pytest.fixture
def exfat(tmp_path: Path) -> Iterator[Path]:
    """Mount an exFAT file system, which has no links."""
    image, place = tmp_path / "image", tmp_path / "place"
    image.write_bytes(bytes(8 << 20))
    place.mkdir()
    subprocess.run(["mkfs.exfat", str(image)], check=True, capture_output=True)
    found = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    try:
        subprocess.run(["mount.exfat-fuse", "-o", "umask=077", device, str(place)], check=True, capture_output=True)
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a folder that belongs to `USER`."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, USER, USER)
        yield Path(folder)


def make_another_users(path: Path, mode: int) -> None:
    """Give a file to somebody else."""
    os.chown(path, OTHER, OTHER)
    path.chmod(mode)


@pytest.mark.needs("root", "mounting", "loop-device", "exfat")
def test_a_file_system_without_links_delivers_erases_and_sets_aside(exfat: Path) -> None:
    """All twelve: eleven erased with the newest remembered, one set aside and brought back."""
    bench = Bench(exfat, refuses=lambda envelope: envelope.position.seq == 3)
    with pytest.raises(SpoolFileError, match="cannot link"):
        LocalFiles().link(bench.path(bench.envelopes[0]), exfat / "second name")
    bench.deliver()
    refused, newest = bench.envelopes[3], bench.envelopes[-1]
    assert bench.worker.stats.shredded == 11
    assert (bench.names("pending"), bench.names("shredding")) == (set(), set())
    assert bench.names("quarantine") == {refused.envelope_id}
    assert [mark.digest for mark in find_marks(exfat / "spool", LocalFiles())] == [newest.digest]
    assert [each.reason for each in bench.open().set_aside()] == ["refused by the receiver: fork"]
    bench.open().release(refused.envelope_id)
    assert bench.open().get(refused.envelope_id) == refused
    assert bench.names("quarantine") == set()
    assert bench.open().recover_shreds() == 0


@pytest.mark.needs("root")
def test_another_users_files_are_delivered_or_set_aside_and_stop_nothing(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`fs.protected_hardlinks` allows no link to them, and their content cannot be overwritten."""
    assert Path("/proc/sys/fs/protected_hardlinks").read_text() == "1\n"
    bench: Bench

    def begin() -> None:
        nonlocal bench
        bench = Bench(home, refuses=lambda envelope: envelope.position.seq == 2)

    as_user(USER, begin)
    unreadable, readable, refused, *good, newest = bench.envelopes
    make_another_users(bench.path(unreadable), 0o600)
    for envelope in (readable, refused, newest):
        make_another_users(bench.path(envelope), 0o644)
    for start in range(3):
        as_user(USER, bench.deliver)
        assert bench.names("pending") == set()
        assert bench.names("quarantine") == {unreadable.envelope_id, refused.envelope_id}
        assert bench.names("shredding") == {readable.envelope_id, newest.envelope_id}
        assert [mark.digest for mark in find_marks(home / "spool", LocalFiles())] == [newest.digest]
        assert bench.worker.stats.shredded == (len(good) if start == 0 else 0)
    told = [record.message for record in caplog.records if readable.envelope_id[:16] in record.message]
    assert len(told) == 3  # once by each process
    assert all("Permission denied" in line for line in told)
    for envelope in (readable, newest):
        os.chown(bench.path(envelope, "shredding"), USER, USER)
    as_user(USER, bench.deliver)
    assert bench.names("shredding") == set()


@pytest.mark.needs("immutable-files")
def test_a_file_that_cannot_be_moved_stays_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that was delivered and one that is to be set aside: both stay pending, and are told of once."""
    bench = Bench(tmp_path, refuses=lambda envelope: envelope.position.seq == 0)
    fixed = bench.envelopes[:2]
    paths = [str(bench.path(envelope)) for envelope in fixed]
    subprocess.run(["chattr", "+i", *paths], check=True)
    try:
        bench.deliver()
        assert bench.worker.stats.shredded == 10
        assert bench.names("pending") == {envelope.envelope_id for envelope in fixed}
        assert (bench.names("quarantine"), bench.names("shredding")) == (set(), set())
        assert len([record for record in caplog.records if "stays pending" in record.message]) == 2
    finally:
        subprocess.run(["chattr", "-i", *paths], check=True)
    bench.deliver()
    assert (bench.names("pending"), bench.names("quarantine")) == (set(), {fixed[0].envelope_id})


@pytest.mark.needs("root")
def test_odd_things_anywhere_keep_no_daemon_from_starting(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`lost+found`, a pipe and a link in each directory: what can be moved is, the rest is told of in one line."""
    bench: Bench

    def begin() -> None:
        nonlocal bench
        bench = Bench(home)

    as_user(USER, begin)
    for state in ("incoming", "pending", "quarantine", "shredding"):
        folder = home / "spool" / state
        (folder / "lost+found").mkdir(mode=0o700)
        os.mkfifo(folder / "pipe", 0o600)
        (folder / "link").symlink_to("nowhere")
        (folder / ("a" * 64)).mkdir()

    def start() -> None:
        bench.open().recover_puts()
        bench.deliver()

    as_user(USER, start)
    assert bench.worker.stats.shredded == 12
    lines = [record.message for record in caplog.records if "lost+found" in record.message]
    assert [line.partition(":")[0].rpartition("/")[2] for line in lines] == ["incoming", "shredding", "pending"]
    assert bench.names("incoming") == {"lost+found", "a" * 64}
    assert {"lost+found", "a" * 64} <= bench.names("pending")
    caplog.clear()
    as_user(USER, bench.deliver)
    assert len([record for record in caplog.records if "lost+found" in record.message]) == 2
    assert [record.message for record in caplog.records if " set aside: " in record.message] == []


def test_a_directory_that_stands_where_an_envelope_is_to_be_set_aside_costs_nothing(tmp_path: Path) -> None:
    """The envelope stays pending and whole."""
    bench = Bench(tmp_path, refuses=lambda envelope: envelope.position.seq == 0)
    (bench.path(bench.envelopes[0], "quarantine") / "inside").mkdir(parents=True)
    bench.deliver()
    assert bench.names("pending") == {bench.envelopes[0].envelope_id}
    assert bench.open().get(bench.envelopes[0].envelope_id) == bench.envelopes[0]
    assert bench.worker.stats.shredded == 11


def test_a_shred_of_the_newest_without_links_marks_it_first(tmp_path: Path) -> None:
    """And takes the older mark away, so that one is left."""
    bench = Bench(tmp_path)
    spool = FileSpool(tmp_path / "spool", max_bytes=1 << 20, files=NoLinks())
    spool.shred(proof(bench.envelopes[0]))
    spool.shred(proof(bench.envelopes[5]), proof(bench.envelopes[4]))
    assert [mark.digest for mark in find_marks(tmp_path / "spool", LocalFiles())] == [bench.envelopes[5].digest]


@pytest.mark.needs("root")
def test_a_full_spool_makes_room_beside_a_file_that_cannot_be_read(home: Path) -> None:
    """What is forced out is chosen among the others; capture goes on."""
    bench: Bench

    def begin() -> None:
        nonlocal bench
        bench = Bench(home)

    def choose() -> None:
        spool = bench.open()
        entries = spool.entries(SpoolState.PENDING)
        assert plan_eviction(spool, entries).ids == [envelope.envelope_id for envelope in bench.envelopes[1:]]

    as_user(USER, begin)
    make_another_users(bench.path(bench.envelopes[0]), 0o600)
    as_user(USER, choose)
    assert bench.names("pending") == {envelope.envelope_id for envelope in bench.envelopes}
