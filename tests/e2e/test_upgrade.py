"""Both versions of the formats meet: the program of version 1 and this one, as unit, receiver and owner.

Real processes of both programs over loopback TLS, on one site's folders. The site has worked with the old program: some
reads were delivered and held for a case, more wait in the spool in two chains, one of them by a key that was rotated
out since. Each test goes on with a copy of it. Two run always: all parts upgraded at once, and an old unit that
delivers to an upgraded receiver. The others need the time for the longest tests.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from agent.bench.demo import LOOPBACK, await_port, device_config
from agent.disk.files import LocalFiles
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.records import Envelope, SpoolState, VerifiedReceipt
from agent.spool.spool import FileSpool
from agent.wire.cose import ed25519_kid
from agent.wire.envelope import parse_envelope
from agent.wire.header import VERSION_1, ZERO_DIGEST
from agent.wire.receipt import verify_receipt
from tests.fakes.bench import LiveBench
from tests.fakes.envelopes import make_chain
from tests.fakes.programs import NEW, Program, program_of_version_1
from tests.fakes.stored import bodies, kept_receipt
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = [pytest.mark.e2e, pytest.mark.needs("version-1", "campaigns")]

UNIT: Final = ("--config", "device/unit.toml")
OWNER: Final = ("--dir", "owner", "--as", "anna")
CASE: Final = ("--store", "receiver", "--case", "2027-08", "--reason", "hit and run")


@dataclass
class Site(LiveBench):
    """A unit, its receiver and its owner in one folder, whose parts either program runs.

    Attributes:
        old: The program of version 1.
        delivered: Ids of the reads that the receiver has.
        waiting: The reads in the spool, in the order in which they were sealed.
    """

    old: Program = field(kw_only=True)
    delivered: list[str] = field(default_factory=list)
    waiting: list[Envelope] = field(default_factory=list)

    def run(self, program: Program, *arguments: str) -> str:
        """Run a command that must succeed, and return all that it printed."""
        done = program.run(*arguments, cwd=self.root)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def refused(self, program: Program, *arguments: str) -> str:
        """Run a command that must fail with one line, and return the line."""
        done = program.run(*arguments, cwd=self.root)
        assert done.returncode not in (0, 1), done.stdout
        lines = [line for line in done.stderr.splitlines() if line.startswith("plateseal: ")]
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr
        return lines[0]

    def serve(self, program: Program) -> None:
        """Start the receiver, and let the unit's configuration name its port."""
        port_file, log = self.root / "port", self.root / "receiver.log"
        port_file.unlink(missing_ok=True)
        where = ("--host", LOOPBACK, "--port", str(self.port), "--port-file", str(port_file))
        process = program.start("receiver", "serve", "receiver", *where, cwd=self.root, log=log)
        self.processes["receiver"] = process
        self.port = await_port(port_file, process, log)
        config = device_config(self.root / "receiver", port=self.port, clip=self.clip, models=self.models)
        self.config.write_text(config)

    def in_spool(self, state: SpoolState = SpoolState.PENDING) -> set[str]:
        """Return the ids of the reads that lie in a part of the spool."""
        return {path.name for path in (self.spool / state).glob("*") if path.suffix == ""}

    def capture(self, program: Program) -> list[Envelope]:
        """Play the clip, and return the chain that it left in the spool, in its order."""
        before = self.in_spool()
        self.run(program, "capture", *UNIT)
        paths = [self.spool / SpoolState.PENDING / name for name in self.in_spool() - before]
        sealed = sorted((parse_envelope(path.read_bytes()) for path in paths), key=lambda one: one.position.seq)
        assert len(sealed) == len(random_texts(3))
        self.waiting += sealed
        return sealed

    def drain(self, program: Program) -> str:
        """Deliver what may be delivered now, and return what upload said."""
        return self.run(program, "upload", *UNIT, "--drain")

    def receipt_of(self, envelope: Envelope) -> VerifiedReceipt:
        """Return the receipt that the receiver keeps of an envelope, verified as the unit does."""
        layout = ReceiverLayout(self.root / "receiver")
        key = load_ed25519_public(layout.receipt_public)
        with SqliteStore.open_read_only(layout.store) as store:
            receipt = kept_receipt(store, envelope.envelope_id)
        assert receipt is not None
        return verify_receipt(receipt, envelope, {ed25519_kid(key): key})

    def assert_all_arrived(self) -> None:
        """Nothing is left on the unit; the store is continuous, has everything once, and the owner opens all of it."""
        assert self.in_spool() == self.in_spool(SpoolState.QUARANTINE) == set()
        assert self.is_drained()
        everything = {*self.delivered, *(envelope.envelope_id for envelope in self.waiting)}
        reports = json.loads(self.run(NEW, "receiver", "verify", "receiver", "--json"))["chains"]
        assert [report["findings"] for report in reports] == [[]] * len(reports)
        assert sum(report["envelopes"] for report in reports) == len(everything)
        assert self.opened_ids("owner") == everything

    def opened_ids(self, owner: str) -> set[str]:
        """Return the ids of the reads that the owner's tools open for the case; each text is one of the clip's."""
        done = NEW.run("custody", "open", "--dir", owner, "--as", "anna", *CASE, "--json", cwd=self.root)
        assert done.returncode == 0, done.stderr
        reads = [json.loads(line) for line in done.stdout.splitlines()]
        assert {read["text"] for read in reads} <= set(random_texts(3))
        return {read["envelope"] for read in reads}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that has worked with the program of version 1, and was stopped in order."""
    toys = write_toy_models(tmp_path_factory.mktemp("toys"))
    clip = render_clip(toys / "clip.mp4", random_texts(3)).clip
    old = program_of_version_1(tmp_path_factory.mktemp("version-1"))
    site = Site(root=tmp_path_factory.mktemp("lived"), clip=clip, models=toys, old=old)
    try:
        _live(site)
    finally:
        site.stop()
    return site


def _live(site: Site) -> None:
    """Enrol, deliver a chain and hold it; then leave one chain of the first key in the spool, and one of the next."""
    (site.root / "device").mkdir()
    site.run(site.old, "receiver", "init", "receiver")
    site.run(site.old, "device", "init", "--name", "gate", "--dir", "device/identity")
    site.run(site.old, "receiver", "enrol", "receiver", "device/identity/enrolment.json")
    site.run(site.old, "custody", "keys", *OWNER, "--no-passphrase", "--epochs", "2")
    for name in ("owner/keyring.cose", "owner/owner.pub", "receiver/ca.pem", "receiver/receipt.pub"):
        shutil.copy(site.root / name, site.root / "device")
    site.serve(site.old)
    site.delivered = [envelope.envelope_id for envelope in site.capture(site.old)]
    shutil.copytree(site.spool / SpoolState.PENDING, site.root / "sent")
    site.drain(site.old)
    site.waiting = []
    site.run(site.old, "custody", "hold", *OWNER, *CASE, "--plate", "*")
    site.capture(site.old)
    site.run(site.old, "device", "rotate", "--dir", "device/identity")
    site.run(site.old, "receiver", "enrol", "receiver", "device/identity/rotation.cose")
    site.run(site.old, "device", "rotate", "--dir", "device/identity")
    site.capture(site.old)


@pytest.fixture
def site(lived: Site, tmp_path: Path) -> Iterator[Site]:
    """Return a copy of that site, nothing of which runs; everything is stopped afterwards."""
    shutil.copytree(lived.root, tmp_path / "site")
    copy = replace(
        lived, root=tmp_path / "site", port=0, processes={}, waiting=[*lived.waiting], delivered=[*lived.delivered]
    )
    try:
        yield copy
    finally:
        copy.stop()


def test_store_spool_keyring_and_owner_go_on(site: Site) -> None:
    """All parts upgraded at once: what waits is delivered, and the unit's first chain names the last of version 1."""
    last = site.waiting[-1]
    site.serve(NEW)
    first = site.capture(NEW)[0]
    assert (first.position.run, first.position.prev) == (0, last.digest)
    site.drain(NEW)
    site.assert_all_arrived()
    assert all(site.receipt_of(envelope).position == envelope.position for envelope in site.waiting)


def test_a_case_of_version_1_opens_without_its_epochs_key(site: Site) -> None:
    """What the old program held opens with the case's key alone; so does what this one holds beside it."""
    shutil.copytree(site.root / "owner", site.root / "held-only")
    shutil.rmtree(site.root / "held-only" / "private")
    (site.root / "held-only" / "private").mkdir(mode=0o700)
    assert site.opened_ids("held-only") == set(site.delivered)
    site.serve(NEW)
    site.drain(NEW)
    site.run(NEW, "custody", "hold", *OWNER, *CASE, "--plate", "*")
    shutil.rmtree(site.root / "owner" / "private")
    (site.root / "owner" / "private").mkdir(mode=0o700)
    site.assert_all_arrived()


def test_a_unit_that_was_killed_goes_on(site: Site) -> None:
    """A killed capture of version 1 left no note of its last read: the next chain names none; nothing is missing."""
    (site.root / "device" / "state" / "last-link").unlink()
    site.serve(NEW)
    first = site.capture(NEW)[0].position
    assert (first.run, first.prev) == (0, ZERO_DIGEST)
    site.drain(NEW)
    site.assert_all_arrived()


def test_what_was_begun_under_version_1_is_finished(site: Site) -> None:
    """An erasure and a put that were cut off, a read that was set aside, a new key that is not enrolled yet."""
    aside = site.waiting[1].envelope_id
    (site.spool / SpoolState.PENDING / aside).rename(site.spool / SpoolState.QUARANTINE / aside)
    (site.spool / SpoolState.QUARANTINE / f"{aside}.reason").write_text("the receiver refuses it: try")
    shutil.copy(site.root / "sent" / site.delivered[0], site.spool / "shredding")
    (site.spool / "incoming" / ("ab" * 32)).write_bytes(b"half an envelope")
    site.run(site.old, "device", "rotate", "--dir", "device/identity")
    site.serve(NEW)
    last = site.waiting[-1]
    first = site.capture(NEW)[0]
    assert (first.position.run, first.position.prev) == (0, last.digest)
    assert first.device_kid != last.device_kid
    site.run(NEW, "spool", "release", aside, *UNIT)
    site.run(NEW, "receiver", "enrol", "receiver", "device/identity/rotation.cose")
    site.run(NEW, "device", "rotate", "--dir", "device/identity")
    assert site.capture(NEW)[0].position.run == 1
    site.drain(NEW)
    site.assert_all_arrived()


def test_a_full_spool_makes_room_across_the_versions(site: Site) -> None:
    """Reads of version 1 that this program forces out are told by its own tombstone; no other read is missing."""
    site.serve(NEW)
    config = site.config.read_text()
    site.config.write_text(config.replace("[spool]\n", "[spool]\nmax_count = 100\n"))
    key = load_ed25519_private(site.root / "device" / "identity" / "signing.key")
    spool = FileSpool(site.spool, max_bytes=1 << 28, files=LocalFiles())
    more = make_chain(key, 90)
    for envelope in more:
        spool.put(envelope)
    site.run(NEW, "capture", *UNIT)
    site.drain(NEW)
    reports = json.loads(site.run(NEW, "receiver", "verify", "receiver", "--json"))["chains"]
    assert [report["findings"] for report in reports] == [[]] * len(reports)
    with SqliteStore.open_read_only(ReceiverLayout(site.root / "receiver").store) as store:
        read = sum(parse_envelope(data).tombstone is None for data in bodies(store))
    evicted = sum(report["evicted"] for report in reports)
    assert evicted > 0
    assert read + evicted == len(site.delivered) + len(site.waiting) + len(more) + len(random_texts(3))


def test_an_old_unit_delivers_to_an_upgraded_receiver(site: Site) -> None:
    """It takes the receipts that it gets: also of a read that the receiver had before it kept receipts."""
    again = Path("sent", site.delivered[0])
    shutil.copy(site.root / again, site.spool / SpoolState.PENDING)
    site.serve(NEW)
    site.drain(site.old)
    site.run(site.old, "device", "rotate", "--dir", "device/identity")
    site.run(NEW, "receiver", "enrol", "receiver", "device/identity/rotation.cose")
    site.run(site.old, "device", "rotate", "--dir", "device/identity")
    site.capture(site.old)
    site.drain(site.old)
    site.assert_all_arrived()
    for envelope in (*site.waiting, parse_envelope((site.root / again).read_bytes())):
        assert site.receipt_of(envelope).receipt.version == VERSION_1


def test_an_upgraded_unit_keeps_its_reads_for_an_old_receiver(site: Site) -> None:
    """What waits in version 1 is delivered; version 2 stays pending, and the unit says why, until that is upgraded."""
    site.serve(site.old)
    newer = {envelope.envelope_id for envelope in site.capture(NEW)}
    site.processes["upload"] = NEW.start("upload", *UNIT, cwd=site.root, log=site.root / "upload.log")
    site.wait_until(lambda: "upgrade it first" in (site.root / "upload.log").read_text())
    site.wait_until(lambda: site.in_spool() == newer)
    said = " ".join(site.run(NEW, "status", *UNIT).split())
    assert "the receiver takes version 1 only: upgrade it first" in said
    site.stop()
    assert (site.root / "upload.log").read_text().count("ERROR") == 1
    assert site.in_spool() == newer
    site.serve(NEW)
    site.drain(NEW)
    site.assert_all_arrived()


def test_a_keyring_of_version_1_is_sealed_to_until_the_next_one_comes(site: Site) -> None:
    """The unit seals to the old owner's keyring, then takes that of version 2; a unit of version 1 refuses it."""
    note = site.root / "device" / "state" / "keyring-serial"
    site.serve(NEW)
    site.capture(NEW)
    site.run(NEW, "custody", "keys", *OWNER, "--no-passphrase", "--epochs", "1", "--from", "2999-01-01")
    shutil.copy(site.root / "owner" / "keyring.cose", site.root / "device")
    before = note.read_bytes()
    assert "keyring: version 2, only 1 is allowed" in site.refused(site.old, "capture", *UNIT)
    assert note.read_bytes() == before
    site.capture(NEW)
    assert note.read_bytes() != before
    site.drain(NEW)
    site.assert_all_arrived()


@pytest.mark.parametrize("receiver", ["old", "new"])
def test_a_unit_of_either_version_is_enrolled(site: Site, receiver: str) -> None:
    """A new receiver takes both requests; an old one refuses that of version 2 with one line."""
    enrols = NEW if receiver == "new" else site.old
    for name, program in (("older", site.old), ("newer", NEW)):
        site.run(program, "device", "init", "--name", name, "--dir", name)
    site.run(enrols, "receiver", "enrol", "receiver", "older/enrolment.json")
    assert (site.root / "older" / "tls.pem").exists()
    if receiver == "new":
        site.run(enrols, "receiver", "enrol", "receiver", "newer/enrolment.json")
    else:
        assert "version 2" in site.refused(enrols, "receiver", "enrol", "receiver", "newer/enrolment.json")
    assert (site.root / "newer" / "tls.pem").exists() == (receiver == "new")


def files(folder: Path) -> dict[Path, bytes]:
    """Return the content of every file below a folder, but for those that SQLite makes for whoever reads."""
    paths = (path for path in sorted(folder.rglob("*")) if not path.name.endswith(("-shm", "-wal")))
    return {path: path.read_bytes() for path in paths if path.is_file()}


def test_an_old_program_leaves_a_newer_receiver_and_owner_as_they_are(site: Site) -> None:
    """Each command says in one line what is too new for it, and changes nothing."""
    site.serve(NEW)
    site.drain(NEW)
    site.stop()
    for name, program in (("older", site.old), ("newer", NEW)):
        site.run(program, "device", "init", "--name", name, "--dir", name)
    site.run(NEW, "receiver", "enrol", "receiver", "newer/enrolment.json")
    site.run(NEW, "custody", "keys", *OWNER, "--no-passphrase", "--epochs", "1", "--from", "2999-01-01")
    before = files(site.root / "receiver") | files(site.root / "owner")
    newer_store, newer_record = "schema version 3, this plateseal reads 1", "'v' is version 2, only 1 is allowed"
    more_keys = ("--no-passphrase", "--epochs", "1", "--from", "2999-02-01")
    for said, command in (
        (newer_record, ("receiver", "serve", "receiver", "--port", "0")),
        (newer_store, ("receiver", "verify", "receiver")),
        (newer_record, ("receiver", "enrol", "receiver", "older/enrolment.json")),
        (newer_store, ("custody", "open", *OWNER, *CASE)),
        ("keyring: version 2, only 1 is allowed", ("custody", "keys", *OWNER, *more_keys)),
    ):
        assert said in site.refused(site.old, *command)
    assert files(site.root / "receiver") | files(site.root / "owner") == before


def test_a_unit_goes_back_to_version_1_and_forward_again(site: Site) -> None:
    """The old program sets reads of version 2 aside; released later they are delivered, and no chain looks forked."""
    site.serve(NEW)
    site.drain(NEW)
    first = site.capture(NEW)[0].position.run
    said = site.drain(site.old)
    assert said.count("set aside: corrupt on disk: envelope: format version 2, only 1 is allowed") == len(
        random_texts(3)
    )
    last = site.capture(site.old)[-1]
    site.drain(site.old)
    for envelope_id in site.in_spool(SpoolState.QUARANTINE):
        site.run(NEW, "spool", "release", envelope_id, *UNIT)
    again = site.capture(NEW)[0].position
    assert (first, again.run, again.prev) == (0, 1, last.digest)
    site.drain(NEW)
    site.assert_all_arrived()
