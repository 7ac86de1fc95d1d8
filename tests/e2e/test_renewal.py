"""A unit's certificate is renewed over real TLS by real processes: nobody touches the unit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.keys import keyfiles
from agent.keys.certificate import load_certificate
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import enrol
from agent.receiver.layout import ReceiverLayout
from tests.fakes.bench import LiveBench
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LiveBench]:
    """Return a bench whose unit has a certificate that is 300 days old; everything is stopped afterwards."""
    folder = write_toy_models(tmp_path)
    render_clip(folder / "clip.mp4", random_texts(8))
    live = LiveBench(root=tmp_path / "bench", clip=folder / "clip.mp4", models=folder)
    try:
        live.set_up(pace="real")
        identity = live.root / "device" / "identity"
        old = enrol(live.root / "receiver", identity / "enrolment.json", now=datetime.now(UTC) - timedelta(days=300))
        keyfiles.replace_file(identity / "tls.pem", old.pem, keyfiles.PUBLIC_MODE)
        yield live
    finally:
        live.stop()


def test_a_certificate_is_renewed_while_the_unit_works(bench: LiveBench) -> None:
    """Capture signs, upload asks, a person answers with one command, upload connects with what it fetched."""
    layout = ReceiverLayout(bench.root / "receiver")
    for part in ("capture", "upload"):
        bench.start(part)
    bench.wait_until(lambda: any(layout.renewals.glob("*.cose")))
    bench.wait_until(lambda: "asks for a new certificate" in (bench.root / "receiver.log").read_text())
    bench.kill("upload")  # it would ask again within ten minutes, and may be cut off between fetching and using
    command = [sys.executable, "-m", "agent.cli.main", "receiver", "renew", str(layout.directory), "--units"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "certificate until" in done.stdout) == (0, True), done.stderr
    bench.start("upload")
    renewed = bench.root / "device" / "state" / "renewed.pem"
    bench.wait_until(lambda: renewed.exists() and bench.capture_ended())
    bench.start("capture")  # all reads may have been sent before, and files are looked at when there is one to send
    bench.wait_until(lambda: "TLS files have changed and are used" in (bench.root / "upload.log").read_text())
    certificate = load_certificate(renewed)
    before = load_certificate(bench.root / "device" / "identity" / "tls.pem")
    assert certificate.not_valid_after_utc >= before.not_valid_after_utc + timedelta(days=300)
    device = DeviceBook(layout.devices).all()[0]
    assert (
        certificate.fingerprint(certificate.signature_hash_algorithm or pytest.fail("unsigned")).hex()
        == (device.fingerprints[0])
    )
    bench.wait_until(lambda: bench.capture_ended() and bench.is_drained())
    assert bench.seen
    assert len(bench.opened()) >= len(bench.seen)
    assert (bench.measured().get("certificate_left_seconds") or 0) > 300 * 86_400
