"""The package on a real Debian with a real systemd: installed, enrolled by the page, watched, upgraded and purged.

The tests are one story on one machine, told once on Debian 12 and once on Debian 13, and run in their order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deb.build import COLLECTED as COLLECTED_BELOW
from deb.build import METRICS
from tests.fakes.clip import short_clip
from tests.fakes.machine import PYTHON_OF, Machine
from tests.fakes.pictures import PROGRAM, check_lean_opencv, write_pictures
from tests.needs import PACKAGES_DIR, ROOT, SYSTEM_DIR, deb_package

UNITS = ("plateseal-capture", "plateseal-upload", "plateseal-receiver")
COLLECTED = Path("/") / COLLECTED_BELOW
MAX_PACKAGE_BYTES = 60_000_000
CLIP = "/opt/plateseal/lib/python3.*/site-packages/agent/bench/clips/demo.mp4"


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("debian-root", "root", "debootstrap", "systemd-nspawn", "deb-package", "dpkg-deb"),
]


@pytest.fixture(scope="module", params=PYTHON_OF)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Return a running machine with the package installed."""
    suite: str = request.param
    found = deb_package(PYTHON_OF[suite])
    assert found is not None, f"make deb DEB_PYTHON={PYTHON_OF[suite]}"
    place = Path(os.environ[SYSTEM_DIR]) / f"machine-{suite}"
    subprocess.run(["rm", "-rf", place], check=True)
    place.mkdir(parents=True)
    made = Machine(place / "disk", found, suite)
    short_clip(made.disk / "root" / "short.mp4")
    try:
        made.install()
        made.boot()
        yield made
    finally:
        made.off()
        subprocess.run(["rm", "-rf", place / "disk"], check=True)


def page_commands() -> list[tuple[str, str]]:
    """Return the commands of docs/ENROL.md, each with its prompt."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "docs/ENROL.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [(match[1], match[2]) for line in lines if (match := re.match(r"(receiver#|unit#|owner\$) (.+)", line))]


def test_the_package_is_whole(machine: Machine) -> None:
    """Every file is dpkg's and as it came; users, folders and units are there; nothing runs without a configuration."""
    assert machine.run("dpkg -V plateseal") == ""
    assert re.search(r"plateseal +plateseal .*incoming", machine.run("ls -l /var/lib/plateseal").replace("\n", " "))
    assert machine.run("stat -c '%a %U' /etc/plateseal/identity").strip() == "700 root"
    for unit, state in zip(UNITS, ("enabled", "enabled", "disabled"), strict=True):
        assert machine.run(f"systemctl is-enabled {unit}", check=False).strip() == state
        assert machine.shown(unit, "ActiveState") == "inactive"
        assert machine.run(f"systemd-analyze verify --man=no {unit}.service") == ""
    assert machine.run("systemctl --failed --no-legend") == ""


def test_the_packages_stay_small() -> None:
    """Those that are compressed as they are given away, of any machine and Python."""
    given_away = [path for path in PACKAGES_DIR.glob("*.deb") if b"data.tar.xz" in path.read_bytes()]
    assert given_away
    assert {path.name: path.stat().st_size for path in given_away if path.stat().st_size > MAX_PACKAGE_BYTES} == {}


def test_the_packages_opencv_reads_all_kinds_of_pictures(machine: Machine) -> None:
    """It is compiled for the package, with less in it than in the wheel's."""
    shown = write_pictures(machine.disk / "root/pictures")
    (machine.disk / "root/pictures.py").write_text(PROGRAM)
    check_lean_opencv(machine.run("/opt/plateseal/bin/python3 -I pictures.py pictures"), shown)


def test_the_page_leads_to_the_first_receipt(machine: Machine) -> None:
    """Every command of docs/ENROL.md, in its order; the camera is the demo's clip, because there is none here."""
    machine.run("printf 'correct horse battery staple\\n' > owner.pass && chmod 600 owner.pass")
    commands = page_commands()
    assert len(commands) > 15
    for prompt, command in commands:
        if "config sign" in command:  # the clip has ended by then; see the next test
            break
        if "plateseal doctor" in command:
            machine.run(f"sed -i s#/dev/video0#$(echo {CLIP})# /etc/plateseal/unit.toml")
            said = machine.run(command, check=False)
            assert "FAULT" not in said, said
            assert "would take a read of this unit" in said
            continue
        if "plateseal status" in command:
            machine.wait_until(lambda: machine.shown("plateseal-capture", "ActiveState") == "inactive")
            machine.wait_until(lambda: "waiting" not in machine.run(command))  # noqa: B023  it runs here and now
        said = machine.run(command)
        assert "Traceback" not in said, (prompt, said)
    assert re.search(r"depot-gate chain \w+: \d+ envelopes, seq 0 to \d+, continuous", said)
    assert machine.shown("plateseal-capture", "Result") == "success"


def test_the_metrics_lie_in_memory_and_outlive_a_daemon(machine: Machine) -> None:
    """Capture has ended with its clip, upload is stopped and started: systemd takes neither one's files away."""
    assert machine.run("stat -c '%a %U' /run/plateseal").strip() == "755 plateseal"
    assert machine.run("stat -f -c %T /run/plateseal").strip() == "tmpfs"
    machine.run("systemctl stop plateseal-upload")
    files = [f"{daemon}.{kind}" for daemon in ("capture", "upload") for kind in ("json", "lock", "prom")]
    assert machine.run("ls /run/plateseal").split() == files
    machine.run("systemctl start plateseal-upload")
    assert machine.run("ls /run/plateseal").split() == files
    assert ".prom" not in machine.run("ls -a /var/lib/plateseal/state")
    assert "runs" in machine.run("plateseal status --config /etc/plateseal/unit.toml | grep upload")


def scraped(machine: Machine) -> str:
    """Return what Debian's node_exporter tells Prometheus."""
    fetch = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
    return machine.run(f'python3 -c "{fetch}"')


def test_node_exporter_reads_the_metrics_where_they_lie(machine: Machine) -> None:
    """Debian's own, as it comes, as its own user; of ours nothing copies, and it sees no more than the text."""
    machine.run("systemctl start prometheus-node-exporter")
    machine.wait_until(lambda: "9100" in machine.run("ss -H -ltn"))
    lines = {
        "plateseal_sealed_total 12",
        "plateseal_pending 0",
        "plateseal_receiver_connections 1",  # as soon as upload has reported
        "node_textfile_scrape_error 0",
    }
    machine.wait_until(lambda: lines <= set(scraped(machine).splitlines()))
    text = scraped(machine)
    assert text.count('node_textfile_mtime_seconds{file="/var/lib/prometheus/node-exporter/plateseal-') == 3
    assert "denied" in machine.run("runuser -u prometheus -- cat /run/plateseal/upload.json", check=False)
    assert machine.run("systemctl list-units --all --no-legend 'plateseal-metrics*'") == ""


def test_a_daemon_that_is_taken_over_spoils_its_own_numbers_only(machine: Machine) -> None:
    """A link in the metrics' place, to a file that only root reads: no line of it is published. It cannot make one."""
    machine.run("systemctl stop plateseal-upload")
    machine.run("runuser -u plateseal -- ln -sf /etc/plateseal/identity/tls.key /run/plateseal/upload.prom")
    text = scraped(machine)
    assert "PRIVATE KEY" not in text
    assert "plateseal_sealed_total 12" in text.splitlines()
    assert "node_textfile_scrape_error 1" in text.splitlines()
    machine.run("systemctl start plateseal-upload")
    machine.wait_until(lambda: "node_textfile_scrape_error 0" in scraped(machine).splitlines())
    machine.run("systemctl stop prometheus-node-exporter")
    for name in UNITS:
        lines = machine.run(f"grep ^SystemCallFilter= /usr/lib/systemd/system/{name}.service").splitlines()
        filters = " ".join(f"-p '{line}'" for line in lines)
        with_filters = f"systemd-run --quiet --wait --pipe {filters} -p SystemCallErrorNumber=EPERM"
        for command in ("touch /run/tried", "ln -s /etc/shadow /run/tried", "mkfifo /run/tried"):
            said = machine.run(f"rm -f /run/tried; {with_filters} {command}", check=False)
            assert said == "" if command.startswith("touch") else "not permitted" in said, (name, command, said)


def test_the_keys_rotate_and_delivery_goes_on(machine: Machine) -> None:
    """OPERATE.md's commands for a unit's keys: services take them, the certificate has one place, and reads arrive."""
    page = (ROOT / "docs/OPERATE.md").read_text()
    section = page.split("### A unit's keys")[1].split("###")[0]
    commands = [line.partition("# ")[2] for line in section.splitlines() if re.match(r"(receiver|unit)# ", line)]
    assert [each.split()[1] for each in commands if each.startswith("plateseal")] == ["device", "receiver", "device"]
    before = machine.shown("plateseal-upload", "MainPID")
    for command in commands:
        said = machine.run(command.replace("RECEIVER", "/var/lib/plateseal-receiver"))
    assert "Restarted, to take the new keys: plateseal-upload." in said
    assert "the rotation is finished" in said
    assert machine.shown("plateseal-upload", "MainPID") not in ("0", before)
    machine.run("systemctl stop plateseal-upload && systemctl start plateseal-upload")  # as the next start of the unit
    assert machine.shown("plateseal-upload", "ActiveState") == "active"
    machine.run("systemctl start plateseal-capture")
    machine.wait_until(lambda: machine.shown("plateseal-capture", "ActiveState") == "inactive")
    machine.wait_until(lambda: len(machine.run("ls /var/lib/plateseal/spool/pending").split()) == 0)
    reports = json.loads(machine.run("plateseal receiver verify /var/lib/plateseal-receiver --json"))["chains"]
    assert len({report["key_id"] for report in reports}) == 2
    assert all(report["continuous"] for report in reports)
    files = "/etc/plateseal/identity/*.next /etc/plateseal/*.next /etc/plateseal/identity/rotation.cose"
    assert machine.run(f"ls {files} 2>/dev/null || true") == ""


def test_a_signed_bundle_is_taken_up(machine: Machine) -> None:
    """The rest of the page: a bundle in the incoming folder is the upload daemon's configuration soon after."""
    machine.run("sed -i 's#/dev/video0#/dev/video9#' config/cameras/depot-gate.toml")
    rest = page_commands()
    at = next(place for place, (_, command) in enumerate(rest) if "config sign" in command)
    for _, command in rest[at:]:
        machine.run(command)
    path = "/var/lib/plateseal/state/config-upload.json"
    machine.wait_until(lambda: json.loads(machine.run(f"cat {path} 2>/dev/null || echo '{{}}'")).get("newest") == 1)


def test_nothing_of_a_unit_listens(machine: Machine) -> None:
    """`ss -ltnup` on the machine shows the receiver alone, and in capture's own network nothing at all."""
    machine.run("systemctl start plateseal-capture")
    machine.wait_until(lambda: machine.shown("plateseal-capture", "ActiveState") == "active")
    lines = machine.run("ss -H -ltnup").splitlines()
    assert [line.split()[4].rpartition(":")[2] for line in lines] == ["8443"]
    assert f"pid={machine.shown('plateseal-receiver', 'MainPID')}," in lines[0]
    pid = machine.shown("plateseal-capture", "MainPID")
    assert machine.run(f"nsenter --target {pid} --net ss -H -ltnup") == ""
    links = machine.run(f"nsenter --target {pid} --net ip -brief link").splitlines()
    assert [line.split()[0] for line in links] == ["lo"]


@pytest.mark.parametrize("unit", UNITS)
def test_a_stopped_daemon_is_restarted_by_its_watchdog(machine: Machine, unit: str) -> None:
    """SIGSTOP: it lives and does nothing. The watchdog, shortened here, kills it, and systemd starts another."""
    machine.run(f"mkdir -p /run/systemd/system/{unit}.service.d")
    drop_in = "[Service]\\nWatchdogSec=20\\nRestartSec=1\\n"
    machine.run(f"printf '{drop_in}' > /run/systemd/system/{unit}.service.d/soon.conf")
    machine.run(f"systemctl daemon-reload && systemctl restart {unit}")
    before = machine.shown(unit, "MainPID")
    assert machine.shown(unit, "StatusText")
    machine.run(f"kill -STOP {before}")
    machine.wait_until(lambda: machine.shown(unit, "MainPID") not in ("0", before))
    machine.wait_until(lambda: machine.shown(unit, "ActiveState") == "active")
    assert int(machine.shown(unit, "NRestarts")) >= 1
    assert "watchdog" in machine.run(f"journalctl -u {unit} --no-pager").lower()


def test_an_encrypted_key_serves_as_well(machine: Machine) -> None:
    """ENROL.md's way for a key that lies encrypted to this machine: upload starts without the key in clear."""
    page = (ROOT / "docs/ENROL.md").read_text()
    commands = [
        re.search(pattern, page) for pattern in (r"`(systemd-creds encrypt [^`]+)`", r"`(LoadCredentialEnc[^`]+)`")
    ]
    encrypt, line = (match[1].replace("signing.key", "tls.key") for match in commands if match is not None)
    machine.run(encrypt)
    folder = "/run/systemd/system/plateseal-upload.service.d"
    machine.run(f"mkdir -p {folder} && printf '[Service]\\nLoadCredential=\\n{line}\\n' > {folder}/encrypted.conf")
    machine.run("mv /etc/plateseal/identity/tls.key /run/aside.key && systemctl daemon-reload")
    machine.run("systemctl restart plateseal-upload")
    assert machine.shown("plateseal-upload", "ActiveState") == "active"
    machine.run(
        f"mv /run/aside.key /etc/plateseal/identity/tls.key && rm {folder}/encrypted.conf && systemctl daemon-reload"
    )
    machine.run("systemctl restart plateseal-upload")


def test_the_journal_knows_what_is_an_error(machine: Machine) -> None:
    """Priorities come from the lines' prefixes, which are gone from the text."""
    warnings = machine.run("journalctl -u 'plateseal-*' -p warning --no-pager -o cat")
    assert "cannot be opened" in warnings or "video9" in warnings
    assert "<4>" not in machine.run("journalctl -u 'plateseal-*' --no-pager -o cat")


def test_the_doctor_runs_on_the_unit(machine: Machine) -> None:
    """As root, with the services at work: it finds the camera that is not there, and that all else is as it comes."""
    value = json.loads(
        machine.run("plateseal doctor --config /etc/plateseal/unit.toml --json 2>/dev/null", check=False)
    )
    found = {finding["check"]: finding["outcome"] for finding in value["findings"]}
    expected = {"sockets", "core dumps", "permissions", "private keys", "keyring", "certificate", "receiver", "models"}
    assert {name for name in expected if found[name] != "good"} == set()
    assert found["capture service"] == found["upload service"] == "good"


CAMERA = """
import json, os, socket
from pathlib import Path
listener = socket.create_server(("127.0.0.1", 8554))
print("ready", flush=True)
connection, (_, port) = listener.accept()
rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
[socket_of] = [f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")]
for link in Path("/proc").glob("[0-9]*/fd/*"):
    if link.is_symlink() and os.readlink(link) == socket_of:
        lines = (link.parents[1] / "status").read_text().splitlines()
        print(json.dumps({line.partition(":")[0]: line.partition(":")[2].split() for line in lines}))
        break
"""
"""A network camera that says nothing, and who has come to it."""


def test_the_doctor_opens_a_camera_as_the_service_would(machine: Machine) -> None:
    """Asked by root: the camera sees the daemons' user, without a right, behind a filter. The keys are looked at too.

    What only root can read is a fault then: the services could not start with it.
    """
    machine.run("systemctl stop plateseal-capture")
    (machine.disk / "srv/camera.py").write_text(CAMERA)
    edit = 's#^uri = .*#uri = "rtsp://127.0.0.1:8554/stream"#'
    machine.run(f"sed '{edit}' /etc/plateseal/unit.toml > /etc/plateseal/look.toml")
    machine.run("(python3 /srv/camera.py > /srv/camera.log 2>&1 &)")
    machine.wait_until(lambda: "ready" in machine.run("cat /srv/camera.log"))
    said = machine.run("plateseal doctor --config /etc/plateseal/look.toml --json 2>/dev/null", check=False)
    found = {finding["check"]: finding for finding in json.loads(said)["findings"]}
    assert found["camera depot-gate"]["outcome"] == "fault"
    for check in ("models", "keyring", "sealing", "TLS files", "identity", "spool", "receiver"):
        assert found[check]["outcome"] == "good", found[check]
    visitor = json.loads(machine.run("tail -n 1 /srv/camera.log"))
    assert visitor["Uid"] == [machine.run("id -u plateseal").strip()] * 4
    assert (visitor["NoNewPrivs"], visitor["Seccomp"], visitor["CapEff"]) == (["1"], ["2"], ["0" * 16])
    machine.run("chmod 600 /etc/plateseal/keyring.cose && rm /etc/plateseal/look.toml")
    said = machine.run("plateseal doctor --config /etc/plateseal/unit.toml --json 2>/dev/null", check=False)
    found = {finding["check"]: finding for finding in json.loads(said)["findings"]}
    assert found["keyring"]["outcome"] == "fault"
    machine.run("chmod 644 /etc/plateseal/keyring.cose && systemctl start plateseal-capture")


def test_an_upgrade_keeps_everything_and_restarts_what_ran(machine: Machine) -> None:
    """The same package once more is an upgrade to dpkg."""
    before = machine.shown("plateseal-upload", "MainPID")
    machine.run("dpkg -i /plateseal.deb")
    machine.wait_until(lambda: machine.shown("plateseal-upload", "ActiveState") == "active")
    assert machine.shown("plateseal-upload", "MainPID") != before
    assert machine.run("dpkg -V plateseal") == ""
    machine.run("test -s /etc/plateseal/identity/signing.key && test -s /etc/plateseal/unit.toml")


def test_the_package_does_all_that_plateseal_does(machine: Machine) -> None:
    """Nothing that a command needs was pruned: demo, reading, the comparison with fast-alpr, and the way to a model."""
    machine.run("plateseal demo --clip short.mp4 --json demo.json")
    counts = json.loads(machine.run("cat demo.json"))
    assert counts["opened"] == counts["sealed"] == counts["passages"] >= 1
    assert machine.run("plateseal read short.mp4 --jsonl - 2>/dev/null").startswith('{"source"')
    machine.run("plateseal bench short.mp4 --compare fast-alpr --json bench.json --html bench.html")
    assert "fast-alpr" in machine.run("cat bench.json")
    assert "FAULT" not in machine.run("plateseal models verify")
    said = machine.run("plateseal models fetch cct-xs-v2-global --models models; echo exit $?")
    assert "Traceback" not in said
    assert "exit 0" not in said  # there is no network here
    machine.run("plateseal config schema unit && plateseal custody --help && plateseal spool --help")


def test_a_purge_leaves_no_unit_but_keeps_what_nobody_else_has(machine: Machine) -> None:
    """A read that was set aside stays; once it is gone so does everything of the unit, but never a receiver's store."""
    machine.run("systemctl stop plateseal-upload")
    quarantine = "/var/lib/plateseal/spool/quarantine"
    machine.run(f"touch {quarantine}/set-aside")
    said = machine.run("dpkg --purge plateseal")
    assert f"files in {quarantine}: 1" in said
    assert "a receiver's keys and reads" in said
    machine.run(f"test -f {quarantine}/set-aside && test -f /etc/plateseal/identity/signing.key")
    left = "/opt/plateseal /usr/bin/plateseal /usr/lib/systemd/system/plateseal* /etc/systemd/system/*/plateseal*"
    assert machine.run(f"ls -d {left} 2>/dev/null || true") == ""
    machine.run(f"rm {quarantine}/set-aside && dpkg -i /plateseal.deb && dpkg --purge plateseal")
    assert machine.run("ls -d /etc/plateseal /var/lib/plateseal 2>/dev/null || true") == ""
    machine.run("test -s /var/lib/plateseal-receiver/envelopes.db")


def package_that_copied(folder: Path) -> Path:
    """Return a package as of earlier versions, with nothing but a timer that copies the metrics as root."""
    tree = folder / "earlier"
    units = tree / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    copy = (
        f"cp /etc/hostname {COLLECTED}/plateseal-capture.prom.new; cp /etc/hostname {COLLECTED}/plateseal-capture.prom"
    )
    (units / "plateseal-metrics.service").write_text(f"[Service]\nType=oneshot\nExecStart=/bin/sh -c '{copy}'\n")
    (units / "plateseal-metrics.timer").write_text(
        "[Timer]\nOnActiveSec=1s\nOnUnitActiveSec=1s\nAccuracySec=1s\n[Install]\nWantedBy=timers.target\n"
    )
    control = tree / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        "Package: plateseal\nVersion: 0.0.1\nArchitecture: all\nMaintainer: a test\nDescription: an earlier one\n"
    )
    (control / "postinst").write_text(
        "#!/bin/sh\ndeb-systemd-helper enable plateseal-metrics.timer\nsystemctl daemon-reload\n"
        "systemctl start plateseal-metrics.timer\n"
    )
    (control / "postinst").chmod(0o755)
    package = folder / "earlier.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    return package


def test_an_upgrade_from_a_package_that_copied_metrics_leaves_nothing_of_that(machine: Machine, tmp_path: Path) -> None:
    """No unit, no link that starts it, no copy: in their place are the links."""
    shutil.copyfile(package_that_copied(tmp_path), machine.disk / "earlier.deb")
    machine.run("dpkg -i /earlier.deb")
    machine.wait_until(lambda: "plateseal-capture.prom.new" in machine.run(f"ls {COLLECTED}"))
    machine.run("dpkg -i /plateseal.deb")
    found = machine.run(f"find {COLLECTED} -name 'plateseal-*' -printf '%f %y %l\\n'").splitlines()
    assert sorted(found) == [f"{name} l {target}" for name, target in sorted(METRICS.items())]
    assert machine.run("find /etc/systemd /usr/lib/systemd /var/lib/systemd -name 'plateseal-metrics*'") == ""
    assert machine.run("systemctl list-units --all --no-legend 'plateseal-metrics*'") == ""
