"""Faults that show while daemons run: a refused bundle, a lost state directory, a full receiver, a chain of CAs."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from agent.bench.demo import CAMERA
from agent.config.bundle import unit_toml
from tests.fakes.bundles import unit_table
from tests.fakes.envelopes import first_position
from tests.fakes.outside_ca import make_outside_ca
from tests.fakes.programs import NEW
from tests.fakes.waiting import wait_until
from tests.faults.planted.acts import DOCTOR, command, mounted, own_receiver, remove
from tests.faults.planted.fault import LOOK_EVERY_S, Fault, by_hand, printed
from tests.faults.planted.site import Site, fill_spool

DRAIN: Final = "upload --config {config} --drain"
SIGN: Final = "--dir {root}/fleet --key {owner}/owner.key --passphrase-file {passphrase} --out {root}/bundles"


def _upload_until(site: Site, done: Callable[[dict[str, tuple[str, str]]], bool]) -> None:
    """Run upload until the doctor's findings are as they are waited for."""
    upload = NEW.start("upload", "--config", site.config, cwd=site.root, log=site.root / "upload.log")
    try:
        wait_until(lambda: done(site.run(DOCTOR).findings), every_s=LOOK_EVERY_S)
    finally:
        upload.terminate()
        upload.wait()


def _put_bundle(site: Site, name: str) -> None:
    shutil.copy(site.root / "bundles" / f"{name}.bundle", site.device / "incoming" / "new")
    (site.device / "incoming" / "new").rename(site.device / "incoming" / "unit.bundle")


def _refused_bundle(site: Site) -> None:
    """Another unit's bundle was brought to this one."""
    (site.device / "incoming").mkdir(mode=0o700)
    table = unit_table(site.config.read_text(), site.device)
    bundle = {"incoming": str(site.device / "incoming" / "unit.bundle")}
    cameras = site.root / "fleet" / "cameras"
    cameras.mkdir(parents=True)
    for name in (CAMERA, "cam-9"):
        own = {key: value for key, value in table.items() if key != "camera_id"} | {"bundle": bundle}
        (cameras / f"{name}.toml").write_text(unit_toml(own))
    site.config.write_text(unit_toml(tomllib.loads(site.config.read_text()) | {"bundle": bundle}))
    command(f"config sign cam-9 {SIGN} --serial 1")(site)
    _put_bundle(site, "cam-9")
    _upload_until(site, lambda findings: "upload config" in findings)


def _own_bundle(site: Site) -> None:
    _put_bundle(site, CAMERA)
    _upload_until(site, lambda findings: "upload config" not in findings)


def _without_state(site: Site) -> None:
    """The state directory was lost while a read waited."""
    own_receiver(site)  # what is delivered stays in this copy
    fill_spool(site.device, first_position(run=0), datetime.now(UTC))
    remove("{state}")(site)
    site.state.mkdir(mode=0o700)


def _full_receiver(site: Site) -> None:
    """The disk of the receiver has no room left."""
    small = site.root / "small"
    small.mkdir()
    mounted(site, "-t", "tmpfs", "-o", "size=1m", "none", on=small)
    shutil.copytree(site.receiver, small / "receiver")
    shutil.rmtree(site.receiver)
    site.receiver.symlink_to(small / "receiver")
    own_receiver(site)
    fill_spool(site.device, first_position(run=0), datetime.now(UTC))
    (small / "other").write_bytes(b"")
    with (small / "other").open("wb", buffering=0) as other:
        try:
            while True:
                other.write(bytes(4096))
        except OSError:
            pass


def _without_intermediate(site: Site) -> None:
    """The receiver's certificate is by an intermediate CA, whose own is not in server.pem."""
    ca = make_outside_ca(site.root / "outside")
    key, pem = ca.server()
    shutil.copyfile(key, site.receiver / "server.key")
    (site.receiver / "server.pem").write_bytes(pem)
    shutil.copyfile(ca.root, site.device / "ca.pem")
    own_receiver(site)


def _with_intermediate(site: Site) -> None:
    with (site.receiver / "server.pem").open("ab") as chain:
        chain.write((site.root / "outside" / "intermediate.pem").read_bytes())


FAULTS: Final = (
    Fault(
        "a configuration was refused",
        DOCTOR,
        _refused_bundle,
        ("serial 1 is for cam-9, this unit is demo",),
        (
            printed(
                "plateseal config sign",
                {"NAME": CAMERA, "DIR": "{root}/bundles", "N": f"2 {SIGN}", "OWNER/owner.key": "{owner}/owner.key"},
            ),
            by_hand("with a higher serial", _own_bundle),
        ),
        check="upload config",
        is_warning=True,
        needs=("campaigns",),
    ),
    Fault(
        "the state directory was lost",
        DRAIN,
        _without_state,
        ("no signing key is recorded, so the reads that wait cannot be checked",),
        (
            by_hand(
                "start capture once with this configuration", lambda site: site.process("capture --config {config}")
            ),
        ),
        is_process=True,
        needs=("campaigns",),
    ),
    Fault(
        "the receiver's disk is full",
        DRAIN,
        _full_receiver,
        ("not drained: 1 left in the spool", "put off by the receiver"),
        (by_hand("put off by the receiver", remove("{root}/small/other")),),
        is_process=True,
        needs=("mounting", "campaigns"),
    ),
    Fault(
        "the certificate between the receiver's and the pinned CA is not there",
        DOCTOR,
        _without_intermediate,
        ("the receiver's certificate is by another CA than the one pinned here, or comes without its intermediate",),
        (by_hand("put the certificates between into server.pem, behind its own", _with_intermediate),),
        check="receiver",
        takes_a_moment=True,
        needs=("openssl",),
    ),
)
