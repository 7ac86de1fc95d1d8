"""Signed configurations for running daemons under load, a third of them bad; then a SIGKILL in the middle of each.

The daemons are the real ones, reading a clip at its own pace. In the first part nothing restarts, so that each vehicle
of the clip must be read exactly once: a switch that lost a passage, or reported it twice, would show.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.bench.demo import CAMERA
from agent.bench.truth import ScoredPassage, load_truth, score
from agent.config.bundle import sign_bundle
from agent.config.document import Table
from agent.custody.owner import unlock_owner
from agent.disk.files import LocalFiles
from agent.keys.keyfiles import load_ed25519_public
from agent.unit.reload.states import read_note
from agent.unit.reload.trial import ConfigState, config_states
from agent.unit.status.metrics import labelled
from tests.fakes.bench import LiveBench
from tests.fakes.bundles import changed, put_bytes, unit_table
from tests.torture.places import quick_folder
from tests.torture.report import Result
from tests.toy_models import random_texts, render_clip, write_toy_models

TARGET: Final = (
    "100 bundles, a third of them bad, to running daemons under load, and SIGKILLs at random moments of the apply: "
    "never dead, no read lost, always on the newest good one"
)
BUNDLES: Final = 100
KILLS: Final = 60
REDUCED: Final = (3, 3)
"""Bundles and kills."""
SECONDS_A_BUNDLE: Final = 4.0
"""Of the clip: it must not end before the bundles do."""
SETTLE_WITHIN_S: Final = 300.0
"""Far more than a start takes on a busy machine; a hang fails the row instead of the campaign."""
BROKEN_WITHIN_S: Final = 1.0
"""What a bundle that cannot work has to show that it does: the least that is allowed, as no waiting mends it."""
LOOKS_A_QUESTION: Final = 5
"""Looks into the spool for each time that the daemons' notes are read and verified."""
SEED: Final = 7
DAEMONS: Final = ("capture", "upload")

Settings = dict[str, object]


def _good(rng: random.Random) -> Settings:
    """Return settings that work: of the read, of the models, of the delivery, or none."""
    return rng.choice(
        [
            {"site": f"site-{rng.randrange(10)}", "position": [rng.uniform(-80, 80), rng.uniform(-170, 170)]},
            {"vision.jpeg_quality": rng.randrange(40, 95)},
            {"vision.reader_confidence": rng.choice([0.2, 0.25, 0.35])},
            {"upload.batch_envelopes": rng.randrange(1, 65), "upload.poll_s": 0.05},
            {},
        ]
    )


def _restarting(rng: random.Random) -> Settings:
    """Return settings that work and need the process to begin anew."""
    return rng.choice(
        [{"spool.max_bytes": rng.randrange(1 << 28, 1 << 30)}, {"seal.cipher": rng.choice(["A256GCM", "auto"])}]
    )


@dataclass
class Unit:
    """A bench whose unit takes bundles.

    Attributes:
        bench: Receiver, capture and upload.
        key: Its owner's.
        table: The settings of its own file.
        serial: Of the last good bundle.
        expected: By daemon, the serial that it must run on.
    """

    bench: LiveBench
    key: Ed25519PrivateKey = field(repr=False)
    table: Table
    serial: int = 0
    expected: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DAEMONS, 0))

    @property
    def incoming(self) -> Path:
        """Where bundles are put."""
        return self.bench.root / "device" / "unit.bundle"

    def states(self) -> dict[str, ConfigState]:
        """Return what the daemons have noted."""
        owner = load_ed25519_public(self.bench.root / "owner" / "owner.pub")
        found = config_states(self.bench.root / "device" / "state", owner, LocalFiles())
        return {state.daemon: state for state in found}

    def sign(self, settings: Settings, **other: object) -> bytes:
        """Sign the next bundle; `other` is what makes it a bad one."""
        self.serial += 1
        arguments = {"camera": CAMERA, "serial": self.serial, "key": self.key, **other}
        return sign_bundle(changed(self.table, settings), **arguments)  # type: ignore[arg-type]

    def put(self, data: bytes) -> None:
        """Put a bundle there; the daemons look once a second."""
        put_bytes(self.incoming, data)

    def hurry(self) -> None:
        """Tell the daemons, which have been running for a while, to look at once."""
        for name in DAEMONS:
            self.bench.processes[name].send_signal(signal.SIGHUP)

    def expect(self, data: bytes, refused_by: tuple[str, ...]) -> None:
        """Put a bundle of the newest serial, and note who must take it."""
        self.expected |= dict.fromkeys(set(DAEMONS) - set(refused_by), self.serial)
        self.put(data)

    def settle(self, *, refused_by: tuple[str, ...] = ()) -> None:
        """Wait until both daemons have noted what they must run on, say that they do, and say what they refuse."""

        def settled() -> bool:
            if self.bench.capture_ended():  # the clip is through
                self.bench.start("capture")
            states, samples = self.states(), self.bench.samples()
            return all(
                states[name].serial == samples.get(labelled("config_serial", daemon=name)) == self.expected[name]
                and read_note(states[name].file, LocalFiles()).trial is None
                and (states[name].rejected is not None) == (name in refused_by)
                for name in DAEMONS
            )

        try:
            self.bench.wait_until(settled, within_s=SETTLE_WITHIN_S, looks=LOOKS_A_QUESTION)
        except AssertionError as error:
            raise AssertionError(f"{error}; expected {self.expected}, found {list(self.states().values())}") from error


def bad_bundles(unit: Unit, rng: random.Random) -> list[tuple[str, Callable[[], bytes], tuple[str, ...]]]:
    """Return every kind of bad bundle: its name, how it is made, and which daemons must refuse it."""
    missing, both = str(unit.bench.root / "nowhere"), DAEMONS

    def with_a_flipped_bit() -> bytes:
        data = bytearray(unit.sign(_good(rng)))
        data[rng.randrange(data.index(b"camera_id"), len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    def cut_off() -> bytes:
        data = unit.sign(_good(rng))
        return data[: rng.randrange(len(data))]

    return [
        ("flipped bit", with_a_flipped_bit, both),
        ("dead receiver", lambda: unit.sign(_dead_receiver()), ("upload",)),
        ("no models", lambda: unit.sign({"vision.models": missing, "vision.min_votes": 3}), ("capture",)),
        ("cut off", cut_off, both),
        ("another key", lambda: unit.sign(_good(rng), key=Ed25519PrivateKey.generate()), both),
        ("another camera", lambda: unit.sign(_good(rng), camera="elsewhere"), both),
        ("lower serial", lambda: unit.sign(_good(rng), serial=1), both),
        ("unknown setting", lambda: unit.sign({"vision.no_such": 1}), both),
        ("impossible value", lambda: unit.sign({"vision.min_votes": 0}), both),
        ("fixed setting", lambda: unit.sign({"state_dir": missing}), both),
        ("no source", lambda: unit.sign({"source.uri": missing}), ("capture",)),
        ("dead camera", lambda: unit.sign(_dead_camera()), ("capture",)),
        ("no certificate", lambda: unit.sign({"upload.certificate": missing}), ("upload",)),
    ]


def _dead_camera() -> Settings:
    return {"source": {"uri": "rtsp://127.0.0.1:9/none"}, "bundle.healthy_within_s": BROKEN_WITHIN_S}


def _dead_receiver() -> Settings:
    return {"upload.url": "https://127.0.0.1:9", "bundle.healthy_within_s": BROKEN_WITHIN_S}


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Apply bundles to running daemons, then kill the daemons while they apply."""
    began_s = time.monotonic()
    bundles, kills = (BUNDLES, KILLS) if full else REDUCED
    rng = random.Random(SEED)
    with quick_folder("bundles") as folder, running_unit(Path(folder), round(bundles * SECONDS_A_BUNDLE)) as unit:
        applied = apply_bundles(unit, bundles, rng, say)
        first, holds = _judge_clip(unit)
        say(first)
        unit.bench.start("capture")
        killed = kill_while_applying(unit, kills, rng, say)
        lose_the_camera(unit)
        second, holds_too = _judge_store(unit)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(applied.items()))
    figures = f"{bundles} bundles ({told}): {first}; then {killed} kills: {second}"
    return Result("bundles", TARGET, figures, holds and holds_too, time.monotonic() - began_s)


@contextmanager
def running_unit(folder: Path, clip_s: int) -> Iterator[Unit]:
    """Set up a bench whose unit takes bundles, start it, and stop everything at the end."""
    toys = write_toy_models(folder)
    render_clip(folder / "clip.mp4", random_texts(max(4, round(clip_s * 15 / 27))))
    bench = LiveBench(root=folder / "bench", clip=folder / "clip.mp4", models=toys)
    try:
        bench.set_up(pace="real")
        text = bench.config.read_text() + '[bundle]\nincoming = "unit.bundle"\n'
        bench.config.write_text(text)
        table = unit_table(text, bench.root / "device")
        table = changed(table, {"bundle.incoming": str(bench.root / "device" / "unit.bundle")})
        unit = Unit(bench, unlock_owner(bench.root / "owner", None).signing_key, table)
        for name in DAEMONS:
            bench.start(name)
        bench.wait_until(lambda: bench.samples().get("acknowledged_total", 0) >= 1)
        yield unit
    finally:
        bench.stop()


def apply_bundles(unit: Unit, count: int, rng: random.Random, say: Callable[[str], None]) -> Counter[str]:
    """Put one bundle after the other, each third one bad; each must have its due effect."""
    applied: Counter[str] = Counter()
    bad = bad_bundles(unit, rng)
    for number in range(count):
        if number % 3 == 2:
            kind, make, refused_by = bad[number // 3 % len(bad)]
        else:
            kind, make, refused_by = "good", lambda: unit.sign(_good(rng)), ()
        unit.expect(make(), refused_by)
        unit.hurry()
        unit.settle(refused_by=refused_by)
        applied[kind] += 1
        say(f"{number + 1} of {count}: {kind}, serials {unit.expected}")
    return applied


def kill_while_applying(unit: Unit, count: int, rng: random.Random, say: Callable[[str], None]) -> int:
    """Put a bundle, each third one bad, and kill a daemon, or both, a moment later; each must have its due effect."""
    bad = bad_bundles(unit, rng)
    rng.shuffle(bad)
    for number in range(count):
        kind, refused_by = "good", tuple[str, ...]()
        if number % 3 == 0:
            data = unit.sign(_good(rng))
        elif number % 3 == 1:
            data = unit.sign(_restarting(rng))
        else:
            kind, make, refused_by = bad[number // 3 % len(bad)]
            data = make()
        unit.expect(data, refused_by)
        time.sleep(rng.uniform(0.0, 2.5))
        victims = rng.choice([("capture",), ("upload",), DAEMONS])
        for name in victims:
            if name != "capture" or not unit.bench.capture_ended():
                unit.bench.kill(name)
        for name in victims:
            unit.bench.start(name)
        unit.settle(refused_by=refused_by)
        say(f"{number + 1} of {count}: {kind}, {' and '.join(victims)} killed, serials {unit.expected}")
    return count


def lose_the_camera(unit: Unit) -> None:
    """Put a bundle with a camera device that is not there: capture begins anew with it, and again without it."""
    unit.expect(unit.sign({}), ())  # what was refused before is forgotten
    unit.settle()
    unit.put(unit.sign({"source": {"uri": "/dev/video99"}, "bundle.healthy_within_s": BROKEN_WITHIN_S}))
    unit.hurry()
    unit.expected["upload"] = unit.serial
    unit.settle(refused_by=("capture",))
    assert "no frame" in str(unit.states()["capture"].rejected)
    before = unit.bench.samples().get("frames_total")  # of the process that has ended; the next one listens to signals
    unit.bench.wait_until(
        lambda: unit.bench.samples().get("frames_total", 0) not in (0, before), within_s=SETTLE_WITHIN_S
    )


def _judge_clip(unit: Unit) -> tuple[str, bool]:
    """Let the clip end; each of its vehicles must have been read once, in one chain."""
    bench = unit.bench
    bench.wait_until(lambda: bench.capture_ended() and bench.is_drained(), within_s=1000.0)
    bench.processes.pop("capture")
    opened = bench.opened()
    truth = load_truth(bench.clip.with_suffix(".truth.json"))
    found = score(truth, [ScoredPassage(item.read.text, item.read.frame_sequence) for item in opened])
    chains = {item.envelope.position.chain for item in opened}
    figures = (
        f"{len(truth.passes)} vehicles, {found.missed} missed, {found.duplicates} twice, {len(chains)} chain(s), "
        f"{len(bench.quarantined())} set aside"
    )
    return figures, not (found.missed or found.duplicates or bench.quarantined()) and len(chains) == 1


def _judge_store(unit: Unit) -> tuple[str, bool]:
    """Stop; every read that was ever accepted must be at the receiver, once."""
    bench = unit.bench
    bench.look()
    bench.processes["capture"].send_signal(signal.SIGTERM)
    bench.wait_until(lambda: bench.capture_ended() and bench.is_drained())
    stored = [item.envelope.envelope_id for item in bench.opened()]
    lost, twice = len(bench.seen - set(stored)), len(stored) - len(set(stored))
    figures = f"{len(bench.seen)} reads seen accepted, {len(stored)} stored, {lost} lost, {twice} twice"
    return figures, not (lost or twice or bench.quarantined())


__all__ = ["run"]
