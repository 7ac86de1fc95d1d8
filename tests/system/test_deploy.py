"""The files of `deploy/`: the programs that they are for take them, and units go through the load balancer."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from agent.receiver.layout import ReceiverLayout
from agent.wire.protocol import Stored
from tests.e2e.test_receiver_balancer import BALANCER, balancing
from tests.e2e.test_receiver_tls import client, post, running
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import make_bench
from tests.fakes.postgres import Cluster
from tests.needs import ROOT

DEPLOY: Final = ROOT / "deploy"


@pytest.mark.needs("haproxy")
def test_haproxy_takes_its_file_as_it_is() -> None:
    """Without a word."""
    done = subprocess.run(["haproxy", "-c", "-q", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.e2e
@pytest.mark.needs("haproxy", "postgresql")
def test_units_go_on_through_the_balancer_when_a_receiver_dies(cluster: Cluster, tmp_path: Path) -> None:
    """Over TLS that ends at the receivers; the other one gives the receipts that were given, and takes what is new."""
    (tmp_path / "other").mkdir()
    first = make_bench(tmp_path, store=cluster.new_database())
    copied = tmp_path / "other" / "receiver"
    shutil.copytree(first.receiver.directory, copied)
    second = replace(first, root=tmp_path / "other", receiver=ReceiverLayout(copied))
    chain = make_chain(first.device.signing_key, 6, run=0)
    with (
        running(first, options=BALANCER) as (one, here),
        running(second, options=BALANCER) as (_, there),
        balancing(tmp_path, here, there) as port,
    ):
        with client(first, port) as http:
            before = post(http, chain[:3])
        one.kill()
        one.wait()
        for _ in range(2):  # with one of them dead, whichever of the two has the next turn
            with client(first, port) as http:
                after = post(http, chain)
            assert after[:3] == before
            assert all(isinstance(answer, Stored) for answer in after)


def test_the_unit_file_for_several_receivers_is_that_for_one() -> None:
    """But for the folders and the ports: what confines one confines each."""
    one = (ROOT / "systemd" / "plateseal-receiver.service").read_text().splitlines()
    several = (DEPLOY / "plateseal-receiver@.service").read_text().splitlines()
    differ = [(old, new) for old, new in zip(one, several, strict=True) if old != new]
    assert [new.partition("=")[0] for _, new in differ if not new.startswith("#")] == [
        "Description", "ConditionPathExists", "ExecStart", "StateDirectory", "RuntimeDirectory", "SocketBindAllow",
    ]  # fmt: skip


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_unit_file_for_several_receivers(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say of an instance."""
    text = (DEPLOY / "plateseal-receiver@.service").read_text()
    text = text.replace("/usr/bin/plateseal", shutil.which("true") or "/bin/true")
    (tmp_path / "plateseal-receiver@.service").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "plateseal-receiver@8444.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "plateseal" in line]) == (0, [])


@pytest.mark.needs("postgresql")
def test_postgresql_takes_the_settings_of_the_primary() -> None:
    """A cluster starts with them, and they are in force."""
    with Cluster(settings=(DEPLOY / "primary.conf").read_text()) as primary:
        assert primary.execute("SHOW synchronous_standby_names") == [("FIRST 1 (standby)",)]
        assert primary.execute("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == [(0,)]
