"""Delivery with the real daemon, spool, TLS and receiver: what is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.keys.keyfiles import load_ed25519_private
from agent.keys.known_keys import KnownKeys
from agent.records import Envelope, SpoolState
from agent.spool.spool import FileSpool
from agent.unit.process.clock_trust import RECEIPT_FILE
from agent.unit.process.run import start_daemon
from tests.fakes.bench import LiveBench
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LiveBench]:
    """Return a bench with its receiver running; no camera is ever started."""
    live = LiveBench(root=tmp_path / "bench", clip=tmp_path / "no-clip.mp4", models=tmp_path / "no-models")
    try:
        live.set_up()
        yield live
    finally:
        live.stop()


def signing_key(bench: LiveBench) -> Ed25519PrivateKey:
    """Return the unit's own key."""
    return load_ed25519_private(bench.root / "device" / "identity" / "signing.key")


def state_dir(bench: LiveBench) -> Path:
    """Return the unit's state directory, made."""
    directory = bench.root / "device" / "state"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def fill(bench: LiveBench, envelopes: Sequence[Envelope]) -> FileSpool:
    """Put envelopes as capture would."""
    spool = FileSpool(bench.spool, max_bytes=1 << 28, files=LocalFiles())
    for envelope in envelopes:
        spool.put(envelope)
    return spool


def upload_log(bench: LiveBench) -> str:
    """Return what the daemon said."""
    return (bench.root / "upload.log").read_text()


def drain(bench: LiveBench) -> int:
    """Run `plateseal upload --drain` and return its exit code."""
    with (bench.root / "upload.log").open("wb") as log:
        return start_daemon("upload", bench.config, "--drain", log=log).wait(WITHIN_S)


def test_only_what_the_unit_signed_is_sent(bench: LiveBench) -> None:
    """A stranger's envelope and a damaged one are set aside with an alarm; the others arrive, and the clock hears."""
    good = make_chain(signing_key(bench), 3)
    stranger, damaged = make_envelope(Ed25519PrivateKey.generate()), make_envelope(signing_key(bench))
    fill(bench, [good[0], stranger, good[1], damaged, good[2]])
    path = bench.spool / SpoolState.PENDING / damaged.envelope_id
    path.write_bytes(damaged.data[:-1] + bytes([damaged.data[-1] ^ 1]))
    KnownKeys(state_dir(bench)).record(signing_key(bench).public_key())
    bench.start("upload")
    bench.wait_until(bench.is_drained)
    bench.wait_until(lambda: bench.measured().total("quarantine_alarm") == 1)
    bench.stop()
    measured = bench.measured()
    assert (measured.total("acknowledged"), measured.total("shredded")) == (3, 3)
    assert (measured.total("unsigned"), measured.total("corrupt"), measured.total("quarantined")) == (1, 1, 2)
    assert {path.name for path in bench.quarantined() if path.suffix == ""} == {
        stranger.envelope_id,
        damaged.envelope_id,
    }
    assert upload_log(bench).count("ERROR") == 2
    assert (state_dir(bench) / RECEIPT_FILE).exists()


def test_nothing_is_taken_for_a_strangers_before_a_key_is_recorded(bench: LiveBench) -> None:
    """A lost state directory: the daemon waits for capture to record its key, then delivers; nothing is set aside."""
    spool = fill(bench, make_chain(signing_key(bench), 3))
    bench.start("upload")
    bench.wait_until(lambda: "no signing key is recorded" in upload_log(bench))
    assert spool.usage(SpoolState.PENDING).count == 3
    KnownKeys(state_dir(bench)).record(signing_key(bench).public_key())
    bench.wait_until(bench.is_drained)
    assert bench.quarantined() == []


def test_a_drain_without_a_recorded_key_says_so(bench: LiveBench) -> None:
    """Nobody would come and record one: one line, exit code 8, everything kept; an empty spool is drained."""
    assert drain(bench) == 0
    spool = fill(bench, make_chain(signing_key(bench), 2))
    assert drain(bench) == 8
    assert "start capture once" in upload_log(bench)
    assert "Traceback" not in upload_log(bench)
    assert spool.usage(SpoolState.PENDING).count == 2


def test_a_drain_that_leaves_something_says_what_and_why(bench: LiveBench) -> None:
    """A receiver that does not know the signing key yet answers "later": exit code 10, and one line."""
    key, unknown = signing_key(bench), Ed25519PrivateKey.generate()
    known = KnownKeys(state_dir(bench))
    for each in (key, unknown):
        known.record(each.public_key())
    spool = fill(bench, [*make_chain(key, 2), *make_chain(unknown, 3)])
    assert drain(bench) == 10
    last = upload_log(bench).splitlines()[-1]
    assert "not drained: 3 left in the spool (3 put off by the receiver, whose log says why)" in last
    assert "Traceback" not in upload_log(bench)
    assert spool.usage(SpoolState.PENDING).count == 3


def test_odd_things_in_the_spool_keep_a_drain_from_nothing(bench: LiveBench) -> None:
    """A mount's `lost+found` in each of its directories: the daemon starts, and everything is delivered."""
    KnownKeys(state_dir(bench)).record(signing_key(bench).public_key())
    fill(bench, make_chain(signing_key(bench), 3))
    for state in ("incoming", "pending", "quarantine", "shredding"):
        (bench.spool / state / "lost+found" / "inside").mkdir(parents=True)
    assert drain(bench) == 0
    assert bench.measured().total("acknowledged") == 3
