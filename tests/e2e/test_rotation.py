"""Keys rotate under running daemons: real processes over loopback TLS, at the clip's own pace."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.bench.truth import ScoredPassage, load_truth, score
from agent.custody.keys import KEYRING, make_keys
from agent.custody.opener import OpenedRead
from agent.keys import keyfiles
from agent.keys.rotation import RotationState, rotate_identity
from agent.receiver.admission.pki import enrol
from agent.wire.envelope import sealed_content
from agent.wire.suites import KeyType
from tests.e2e.test_whole_way import assert_chains_are_whole
from tests.fakes.bench import LiveBench
from tests.fakes.waiting import WITHIN_S
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make toy models and a clip of 30 s, with a vehicle every two: a slow machine must be done before it ends."""
    folder = write_toy_models(tmp_path_factory.mktemp("toys"))
    render_clip(folder / "clip.mp4", random_texts(15))
    return folder


@pytest.fixture
def bench(tmp_path: Path, toys: Path) -> Iterator[LiveBench]:
    """Return a bench whose daemons run and have delivered two reads; everything is stopped afterwards."""
    live = LiveBench(root=tmp_path / "bench", clip=toys / "clip.mp4", models=toys)
    try:
        live.set_up(pace="real")
        live.start("upload")
        live.start("capture")
        live.wait_until(lambda: live.measured().total("acknowledged") >= 2)
        yield live
    finally:
        live.stop()


def log(bench: LiveBench, name: str) -> str:
    """Return what a part has logged."""
    return (bench.root / f"{name}.log").read_text()


def finish(bench: LiveBench, toys: Path) -> list[OpenedRead]:
    """Let the clip end, and check that every vehicle's read arrived once, whole and in an unbroken chain."""
    bench.wait_until(lambda: bench.capture_ended() and bench.is_drained())
    opened = bench.opened()
    stored = [item.envelope.envelope_id for item in opened]
    assert len(stored) == len(set(stored))
    assert bench.seen <= set(stored)
    assert bench.quarantined() == []
    assert_chains_are_whole(opened)
    truth = load_truth(toys / "clip.truth.json")
    passages = [ScoredPassage(item.read.text, item.read.frame_sequence) for item in opened]
    found = score(truth, passages)
    assert (found.missed, len(passages)) == (0, len(truth.passes))
    return opened


def test_a_device_rotates_its_keys_while_it_works(bench: LiveBench, toys: Path) -> None:
    """Every read arrives once, under two keys, in two linked chains; the old certificate ends at once (overlap 0)."""
    identity = bench.root / "device" / "identity"
    step = rotate_identity(identity)
    issued = enrol(bench.root / "receiver", identity / "rotation.cose", overlap=timedelta(0))
    keyfiles.replace_file(identity / "tls.pem", issued.pem, keyfiles.PUBLIC_MODE)
    bench.wait_until(lambda: "signing with key" in log(bench, "capture"))
    done = rotate_identity(identity)
    assert (done.state, done.key_id) == (RotationState.FINISHED, step.key_id)
    opened = finish(bench, toys)
    by_key = {
        kid: [item.envelope for item in opened if item.envelope.device_kid == kid]
        for kid in (step.old_key_id, step.key_id)
    }
    old, new = by_key[step.old_key_id], by_key[step.key_id]
    assert len(old) >= 2
    assert len(new) >= 2
    assert len(old) + len(new) == len(opened)
    assert len({envelope.position.chain for envelope in old}) == 1
    assert len({envelope.position.chain for envelope in new}) == 1
    first = min(new, key=lambda envelope: envelope.position.seq)
    assert first.position.prev == max(old, key=lambda envelope: envelope.position.seq).digest
    assert "TLS files have changed" in log(bench, "upload")


def test_a_keyring_is_replaced_while_capture_works(bench: LiveBench, toys: Path) -> None:
    """Garbage and an older one change nothing, a newer one takes effect; no read is missed in between."""
    in_place, owner = bench.root / "device" / KEYRING, bench.root / "owner"
    first = in_place.read_bytes()
    in_place.write_bytes(first[:100])
    bench.wait_until(lambda: "the keyring is refused, serial 1 stays in use" in log(bench, "capture"))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    make_keys(
        owner,
        recipients=["auditor"],
        key_type=KeyType.X25519,
        start=today,
        epochs=2,
        epoch=timedelta(days=1),
        passphrase=None,
    )
    shutil.copyfile(owner / KEYRING, in_place)
    bench.wait_until(lambda: "keyring serial 2 in use" in log(bench, "capture"))
    keyfiles.replace_file(in_place, first, keyfiles.PUBLIC_MODE)
    bench.wait_until(lambda: "serial 1 is older than serial 2" in log(bench, "capture"))
    opened = finish(bench, toys)
    recipients = [len(sealed_content(item.envelope)[0].recipients) for item in opened]
    assert recipients == sorted(recipients)
    assert {1, 2} == set(recipients)
    measured = bench.measured()
    assert (measured.total("keyring_serial"), measured.total("keyring_expired")) == (2, 0)
    assert measured.total("keyring_left_seconds") > 0
    bench.start("capture")
    process = bench.processes.pop("capture")
    assert process.wait(WITHIN_S) == 7
    assert "serial 1 is older than serial 2" in log(bench, "capture").splitlines()[-1]
