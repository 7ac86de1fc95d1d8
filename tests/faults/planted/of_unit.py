"""Faults of a unit's folders, spool, disk, models and cameras."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from agent.bench.demo import DEMO_CLIP
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.spool.spool import FileSpool
from agent.vision.manifest import built_in_manifest
from tests.fakes.envelopes import first_position
from tests.faults.planted.acts import DOCTOR, Plant, done, mode, mounted, remove_all, setting
from tests.faults.planted.fault import Act, Fault, by_hand, printed
from tests.faults.planted.of_config import as_told, source, without
from tests.faults.planted.site import Site, fill_spool

NOBODY: Final = 65534
"""Its number on Debian."""


def _set_aside(site: Site) -> None:
    envelope = fill_spool(site.device, first_position(run=0), datetime.now(UTC))
    spool = FileSpool(site.spool, max_bytes=1 << 30, files=LocalFiles())
    spool.quarantine(envelope.envelope_id, reason="refused: envelope: of device cam-9")


def _released() -> Act:
    def act(site: Site, text: str) -> str:
        (aside,) = (path for path in (site.spool / "quarantine").iterdir() if "." not in path.name)
        return printed("plateseal spool release", {"ID": aside.name, "FILE": "{config}"})(site, text)

    return act


def _read_only(site: Site) -> None:
    mounted(site, "--bind", str(site.spool), on=site.spool)
    subprocess.run(["mount", "-o", "remount,ro,bind", site.spool], check=True)


def _in_memory(site: Site) -> None:
    folder = site.device / "memory"
    folder.mkdir(mode=0o700)
    mounted(site, "-t", "tmpfs", "none", on=folder)
    (folder / "spool").mkdir(mode=0o700)
    site.change_setting("directory", '"memory/spool"')


def _locked(site: Site) -> None:
    """Another upload works on the spool."""
    site.stack.enter_context(SpoolLock(site.spool, SpoolPart.UPLOAD))


def _given_away(site: Site) -> None:
    os.chown(site.spool, NOBODY, NOBODY)


def _own_models(site: Site) -> None:
    """Have the unit take its models from a folder of its own."""
    folder = site.device / "models"
    shutil.copytree(built_in_manifest().parent, folder, ignore=shutil.ignore_patterns("training"))
    text = site.config.read_text()
    site.config.write_text(text.replace("[vision]", '[vision]\nmodels = "models"'))


def _each_model(spoil: Callable[[bytes], bytes]) -> Plant:
    def plant(site: Site) -> None:
        _own_models(site)
        for path in (site.device / "models").glob("*.onnx"):
            path.write_bytes(spoil(path.read_bytes()))

    return plant


def source_again(site: Site) -> None:
    """Name the recording again."""
    site.change_setting("uri", f'"{DEMO_CLIP}"')
    site.change_config("# started_at = ", "started_at = ")


FAULTS: Final = (
    Fault(
        "the state directory is open to others",
        DOCTOR,
        mode("{state}", 0o755),
        ("state: mode 0755 lets others in",),
        (printed("chmod 700"),),
        check="permissions",
    ),
    Fault(
        "the spool is open to others",
        DOCTOR,
        mode("{spool}", 0o770),
        ("spool: mode 0770 lets others in",),
        (printed("chmod 700"),),
        check="permissions",
    ),
    Fault(
        "the spool belongs to another user",
        DOCTOR,
        _given_away,
        ("spool belongs to ", "the daemons run as "),
        (printed("chown -R"),),
        check="permissions",
        needs=("root",),
    ),
    Fault(
        "a file lies in the spool's place",
        DOCTOR,
        done(lambda site: shutil.rmtree(site.spool), lambda site: site.spool.write_bytes(b"")),
        ("spool: is no directory",),
        (printed("rm "), printed("mkdir -m 700")),
        check="permissions",
    ),
    Fault(
        "the spool's disk has turned read-only",
        DOCTOR,
        _read_only,
        ("spool is on a read-only file system",),
        (printed("mount -o remount,rw"),),
        check="spool",
        needs=("mounting",),
    ),
    Fault(
        "the spool lies in memory",
        DOCTOR,
        _in_memory,
        ("lies on tmpfs, which is lost with the power",),
        (by_hand("set spool.directory to a folder on the disk", setting("directory", '"spool"')),),
        check="disk",
        needs=("mounting",),
    ),
    Fault(
        "the spool may take more than the disk has",
        DOCTOR,
        lambda site: site.change_config("[spool]", f"[spool]\nmax_bytes = {1 << 50}"),
        ("the spool may take 1125899.9 GB more",),
        (as_told("max_bytes", r"spool.max_bytes to at most (\d+)"),),
        check="disk",
        is_warning=True,
    ),
    Fault(
        "reads were set aside",
        DOCTOR,
        _set_aside,
        ("has set 1 aside", "refused: envelope: of device cam-9"),
        (_released(),),
        check="spool",
        is_warning=True,
    ),
    Fault(
        "model files are altered",
        DOCTOR,
        _each_model(lambda data: data[:-1] + b"x"),
        ("has SHA-256 ", "the manifest names "),
        (printed("plateseal models verify", code=5), by_hand("leave vision.models out", without('models = "models"'))),
        check="models",
    ),
    Fault(
        "model files are not there",
        DOCTOR,
        done(_own_models, remove_all("{device}/models", "*reader*.onnx")),
        ("no reader model in ",),
        (by_hand("leave vision.models out", without('models = "models"')),),
        check="models",
    ),
    Fault(
        "no model has this name",
        DOCTOR,
        lambda site: site.change_config("[vision]", '[vision]\nreader = "plate-raeder"'),
        ("plate-raeder",),
        (printed("plateseal models list"), by_hand("there are plate-reader", without('reader = "plate-raeder"'))),
        check="models",
    ),
    Fault(
        "the recording is not there",
        DOCTOR,
        source("no.mp4"),
        ("no.mp4",),
        (by_hand("source.uri", source_again),),
        check="camera demo",
    ),
    Fault(
        "the camera's device is not there",
        DOCTOR,
        source("/dev/video97"),
        ("/dev/video97",),
        (by_hand("source.uri", source_again),),
        check="camera demo",
    ),
    Fault(
        "nothing answers at the camera's address",
        DOCTOR,
        source("rtsp://127.0.0.1:9/live"),
        ("cannot be opened",),
        (by_hand("source.uri", source_again),),
        check="camera demo",
    ),
    Fault(
        "what the camera's source names is no video",
        DOCTOR,
        source("unit.toml"),
        ("unit.toml",),
        (by_hand("source.uri", source_again),),
        check="camera demo",
    ),
    Fault(
        "a second upload works on the same spool",
        "upload --config {config} --drain",
        _locked,
        ("upload",),
        (by_hand("end that one first", lambda site: site.stack.close()),),
        is_process=True,
        needs=("campaigns",),
    ),
)
