"""Capture without pixels: the product's recorder, sealer, chain and spool under reads that nobody had to look for.

    python -m tests.torture.capture_process CONFIG ACCEPTED [--crops FOLDER] [--reads-per-s N]

Owns: the accept log. A line is appended and synced after `put` has returned, so every id in it is an accepted read.
A read may be accepted without its line, if the process dies between the two. Loads neither OpenCV nor onnxruntime.
"""

from __future__ import annotations

import argparse
import os
import random
import string
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.config.load import load_config
from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.keys.keyfiles import load_ed25519_public
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import SerialNote
from agent.keys.known_keys import KnownKeys
from agent.keys.signing_key import SigningKeyFile
from agent.records import Envelope
from agent.seal.cipher import choose_cipher
from agent.seal.last_link import LastLink
from agent.seal.sealer import Sealer
from agent.seal.selftest import CAPTURE_CHECKS, run_self_test
from agent.spool.spool import FileSpool
from agent.unit.capture.eviction import Bounds
from agent.unit.capture.keys import KeyWatcher
from agent.unit.capture.recorder import Recorder
from agent.unit.process.clock import SystemClock
from agent.unit.process.clock_trust import ClockTrust
from agent.unit.process.prepare import prepare_daemon
from agent.unit.process.state import make_state_dir
from agent.wire.plaintext import ClockState, Direction, Plaintext

TEXT_MARK: Final = "QZXJ"
"""Every plate text begins with it, so a search finds also those of reads that were never accepted."""
TEXT_CHARS: Final = 12
ACCEPT_LINE_BYTES: Final = 65
"""An id in hex and a newline."""
_ALPHABET: Final = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in.

    Attributes:
        reads_per_s: On average; the gaps between reads are random.
        crops: Folder of JPEG files to take crops from; random bytes if None.
        crop_bytes: Length of a random crop.
    """

    reads_per_s: float = 30.0
    crops: Path | None = None
    crop_bytes: int = 2000


class NotedSpool(FileSpool):
    """The real spool, with the accept log behind it."""

    def note_in(self, path: Path) -> None:
        """Append accepted ids to this file from now on."""
        self._log_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def put(self, envelope: Envelope) -> None:
        """As the spool's, and then the line."""
        super().put(envelope)
        os.write(self._log_fd, f"{envelope.envelope_id}\n".encode())
        os.fsync(self._log_fd)


def accepted_ids(path: Path) -> set[str]:
    """Return the ids in an accept log; a last line that a kill cut short is none."""
    if not path.exists():
        return set()
    return {line for line in path.read_text().split("\n")[:-1] if len(line) == 64}


def draw_read(config: UnitConfig, load: Load, crops: list[bytes]) -> Plaintext:
    """Return a read whose text and frame number no other read has."""
    text = TEXT_MARK + "".join(random.choices(_ALPHABET, k=TEXT_CHARS - len(TEXT_MARK)))
    now = datetime.now(UTC)
    return Plaintext(
        camera=config.camera_id,
        captured_at=now,
        clock=ClockState.SYNCHRONIZED,
        text=text,
        confidences=(990,) * len(text),
        votes=(4, 4),
        region=None,
        detector_confidence=900,
        box=(10, 20, 110, 50),
        frame_sequence=random.getrandbits(48),
        frame_wh=(1280, 720),
        first_seen=now,
        last_seen=now,
        direction=Direction.APPROACHING,
        crop=random.choice(crops) if crops else os.urandom(load.crop_bytes),
        detector_digest=b"\x01" * 32,
        reader_digest=b"\x02" * 32,
        agent_version="torture",
    )


def run_canned_capture(config: UnitConfig, accepted: Path, load: Load) -> None:
    """Do what the capture daemon does from the first read to its end, until told to stop.

    Raises:
        PlatesealError: As the capture daemon.
    """
    stop = prepare_daemon()
    run_self_test(CAPTURE_CHECKS)
    make_state_dir(config.state_dir)
    files = LocalFiles()
    clock = ClockTrust(SystemClock(), state_dir=config.state_dir, files=files, max_age=None)
    signing_key = SigningKeyFile(config.seal.signing_key, clock, known=KnownKeys(config.state_dir))
    book = KeyringFile(
        config.seal.keyring,
        load_ed25519_public(config.seal.owner_key),
        note=SerialNote(config.state_dir, files),
        clock=clock,
        stop_at_end=False,
    )
    spool = NotedSpool(config.spool.directory, max_bytes=config.spool.max_bytes, files=files)
    lock = SpoolLock(config.spool.directory, SpoolPart.CAPTURE)
    spool.note_in(accepted)
    spool.recover_puts()
    link = LastLink(config.state_dir, files)
    chain = link.begin(spool.newest)
    sealer = Sealer(signing_key=signing_key.key, book=book, cipher=choose_cipher(config.seal.cipher))
    recorder = Recorder(
        sealer=sealer,
        spool=spool,
        chain=chain,
        clock=clock,
        bounds=Bounds(max_bytes=config.spool.max_bytes),
        may_expire=clock.judge_age,
    )
    recorder.recover()
    keys = KeyWatcher(keyring=book, signing_key=signing_key, sealer=sealer, chain=chain)
    _record(config, load, recorder, keys, stop)
    recorder.finish()
    link.leave(chain)
    lock.close()


def _record(config: UnitConfig, load: Load, recorder: Recorder, keys: KeyWatcher, stop: threading.Event) -> None:
    crops = [] if load.crops is None else [path.read_bytes() for path in sorted(load.crops.iterdir())]
    while not stop.wait(random.expovariate(load.reads_per_s)):
        keys.poll()
        recorder.keep(draw_read(config, load, crops))
        recorder.expire()


def main() -> int:
    """Run as a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("accepted", type=Path)
    parser.add_argument("--crops", type=Path)
    parser.add_argument("--reads-per-s", type=float, default=30.0)
    options = parser.parse_args()
    load = Load(reads_per_s=options.reads_per_s, crops=options.crops)
    run_canned_capture(load_config(options.config), options.accepted, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
