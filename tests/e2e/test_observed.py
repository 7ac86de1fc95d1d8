"""What can be seen of running daemons: metrics that Prometheus takes, reports that arrive, no socket that listens."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from prometheus_client.parser import text_fd_to_metric_families

from agent.receiver.fleet.store import FleetStore, Reported
from agent.receiver.layout import ReceiverLayout
from agent.unit.status.samples import METRICS
from tests.fakes.bench import LiveBench
from tests.toy_models import render_frame, write_toy_models

pytestmark = pytest.mark.e2e

PICTURES = 600
"""At one a second: longer than any test here takes."""
BASE_UNITS = ("_bytes", "_seconds", "_celsius")
OTHER_UNITS = re.compile(r"_(ms|milliseconds|minutes|hours|days|kb|kib|mb|mib|percent|fahrenheit)(_total)?$")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBench]:
    """Return a bench whose capture looks at a quiet road and whose upload has delivered and reported."""
    root = tmp_path_factory.mktemp("observed")
    models, road = write_toy_models(root / "models"), root / "road"
    road.mkdir()
    cv2.imwrite(str(road / "000.png"), render_frame([]))
    for number in range(1, PICTURES):
        (road / f"{number:03d}.png").hardlink_to(road / "000.png")
    live = LiveBench(root=root / "bench", clip=road, models=models)
    try:
        live.set_up(pace="real")
        live.start("capture")
        live.wait_until(lambda: live.measured().total("frames") > 0)
        live.start("upload")
        live.wait_until(lambda: newest(live) is not None)
        yield live
    finally:
        live.stop()


def newest(bench: LiveBench) -> Reported | None:
    """Return what the receiver keeps of the unit."""
    with FleetStore(ReceiverLayout(bench.root / "receiver").fleet) as store:
        return store.newest().get("demo")


def test_the_metrics_are_as_prometheus_wants_them(bench: LiveBench) -> None:
    """Our prefix, base units, counters that end in _total, a type and a help line for each, labels without a read."""
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for name in ("capture.prom", "upload.prom"):
        with (bench.root / "device" / "state" / "run" / name).open() as file:
            families = list(text_fd_to_metric_families(file))
        assert len(families) > 10
        for family in families:
            assert family.name.startswith("plateseal_"), family.name
            assert family.type in ("counter", "gauge"), family.name
            metric = METRICS[family.name.removeprefix("plateseal_")]
            assert (family.type, family.documentation) == (metric.kind, metric.help)
            assert not OTHER_UNITS.search(family.name), family.name
            for sample in family.samples:
                assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
                assert tuple(sample.labels) == metric.labels
                assert re.fullmatch(r"[a-z0-9][a-z0-9._ -]*", "".join(sample.labels.values()) or "x")
                series = sample.name, tuple(sorted(sample.labels.items()))
                assert series not in seen  # a collector that reads both files refuses one that stands twice
                seen.add(series)


def test_every_metric_with_a_unit_names_it() -> None:
    """Seconds, bytes, degrees; whatever says how much of these says so at its end."""
    words = ("bytes", "seconds", "left_s", "oldest", "lag", "temperature", "erasure")
    measured = [name for name in METRICS if any(word in name for word in words)]
    assert len(measured) > len(words)
    assert [name for name in measured if not name.endswith(BASE_UNITS)] == []


def test_the_unit_reports_over_its_own_connection(bench: LiveBench) -> None:
    """The first report arrives within seconds of the start, with what the daemons know."""
    found = newest(bench)
    assert found is not None
    report = found.report
    assert (report.upload_up, [camera.name for camera in report.cameras]) == (True, ["demo"])
    assert report.cameras[0].is_up is None
    assert report.disk_size_bytes > report.disk_free_bytes > 0
    assert report.certificate_s is not None
    assert report.certificate_s > 360 * 86_400
    assert report.keyring_s is not None
    assert 0 < report.keyring_s <= 2 * 86_400
    assert dict(report.versions).keys() == {"plateseal", "python", "system"}
    assert (report.configs, report.error) == ((), None)


@pytest.mark.needs("ss")
def test_nothing_of_ours_listens_on_the_device_side(bench: LiveBench) -> None:
    """`ss -ltnup` beside running daemons shows the receiver, so the look is good, and neither capture nor upload."""
    done = subprocess.run(["ss", "-H", "-ltnup"], capture_output=True, text=True, check=True)
    owners = {int(pid) for pid in re.findall(r"pid=([0-9]+)", done.stdout)}
    assert bench.processes["receiver"].pid in owners
    family = {pid for name in ("capture", "upload") for pid in tree_of(bench.processes[name].pid)}
    assert all(bench.processes[name].poll() is None for name in ("capture", "upload"))
    assert not family & owners


def tree_of(pid: int) -> set[int]:
    """Return a process and all its children."""
    found = {pid}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent in found:
            found.add(int(path.parent.name))
    return found
