"""What can be known of the Debian package without installing it: purge, versions, changelog, what it needs.

The scripts run in a folder that stands for the unit's root, as dpkg runs them with `--root` (`DPKG_ROOT`).
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.config.models import SERVICE_RUNTIME
from agent.unit.status.metrics import DAEMONS
from deb.build import COLLECTED, LAUNCHER, METRICS, add_system_files, debian_version
from deb.libraries import LibraryError, needs
from deb.papers import changelog
from deb.pruning import prune

ROOT = Path(__file__).parents[2]
SPOOL = Path("var/lib/plateseal/spool")
FOLDERS = ("pending", "quarantine", "incoming", "shredding")


def a_unit(root: Path, *, spool: str = "/var/lib/plateseal/spool") -> Path:
    """Make what a removed package leaves on a unit; return the spool that its configuration names."""
    for folder in ("etc/plateseal/identity", "var/lib/plateseal/state", "var/lib/plateseal/incoming"):
        (root / folder).mkdir(parents=True)
    (root / "etc/plateseal/identity/tls.key").write_text("a key")
    (root / "etc/plateseal/unit.toml").write_text(
        f'# directory = "/of/a/comment"\nstate_dir = "/var/lib/plateseal/state"\n[spool]\ndirectory = "{spool}"\n'
    )
    place = root / "etc/plateseal" / spool if not spool.startswith("/") else root / spool.lstrip("/")
    for name in FOLDERS:
        (place / name).mkdir(parents=True)
    return place


def module(name: str) -> str:
    """Return the file of an extension module of this interpreter."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def purge(root: Path) -> str:
    """Run the script as `dpkg --purge` does, and return what it said."""
    done = subprocess.run(
        ["sh", ROOT / "deb/postrm", "purge"],
        env=os.environ | {"DPKG_ROOT": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_purge_leaves_nothing_of_a_unit_whose_reads_are_delivered(tmp_path: Path) -> None:
    """No file in the spool: keys, configuration and state go, and there is nothing to say."""
    a_unit(tmp_path)
    assert purge(tmp_path) == ""
    assert not (tmp_path / "etc/plateseal").exists()
    assert not (tmp_path / "var/lib/plateseal").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_purge_keeps_a_unit_that_holds_a_read_in_any_folder(tmp_path: Path, folder: str) -> None:
    """One file is enough, and the message says where it is."""
    spool = a_unit(tmp_path)
    (spool / folder / "a-read").touch()
    assert f"files in /{SPOOL}/{folder}: 1" in purge(tmp_path)
    assert (spool / folder / "a-read").exists()
    assert (tmp_path / "etc/plateseal/identity/tls.key").exists()


@pytest.mark.parametrize("spool", ["/data/reads", "../../srv/reads", "/var/lib/plateseal/other"])
def test_a_purge_finds_the_spool_that_the_configuration_names(tmp_path: Path, spool: str) -> None:
    """A read in it keeps the unit's keys, without which nobody takes it."""
    place = a_unit(tmp_path, spool=spool)
    (place / "quarantine/a-read").touch()
    assert f"{spool.removeprefix('../..')}/quarantine: 1" in purge(tmp_path)
    assert (place / "quarantine/a-read").exists()
    assert (tmp_path / "etc/plateseal/identity/tls.key").exists()


def test_a_purge_never_touches_a_spool_outside_its_own_folder(tmp_path: Path) -> None:
    """An empty one stays where it is, and is named; the unit's keys go."""
    place = a_unit(tmp_path, spool="/data/reads")
    assert "/data/reads" in purge(tmp_path)
    assert all((place / name).is_dir() for name in FOLDERS)
    assert not (tmp_path / "etc/plateseal").exists()


def test_a_purge_counts_what_is_no_file_as_well(tmp_path: Path) -> None:
    """A link that was set aside is somebody's question, so it is not silently gone."""
    spool = a_unit(tmp_path)
    (spool / "quarantine/odd").symlink_to("/nowhere")
    assert "quarantine: 1" in purge(tmp_path)


def test_a_receiver_is_never_purged(tmp_path: Path) -> None:
    """Its keys and reads are others'."""
    store = tmp_path / "var/lib/plateseal-receiver/envelopes.db"
    store.parent.mkdir(parents=True)
    store.touch()
    assert "a receiver's keys and reads" in purge(tmp_path)
    assert store.exists()


def test_node_exporter_is_led_to_the_files_that_the_daemons_write(tmp_path: Path) -> None:
    """A link for each daemon, to a file that is there from the start of the machine, in a folder that others may enter.

    The daemons' services make the same folder, with the same mode, and keep it.
    """
    add_system_files(tmp_path)
    links = {path.name: path.readlink() for path in (tmp_path / COLLECTED).iterdir()}
    made = [line.split() for line in (ROOT / "systemd/plateseal.tmpfiles").read_text().splitlines()]
    folders = {words[1]: words[2:4] for words in made if words[0] == "d"}
    files = {words[1]: words[2:5] for words in made if words[0] == "f"}
    assert {links[f"plateseal-{name}.prom"] for name in DAEMONS} == {
        SERVICE_RUNTIME / f"{name}.prom" for name in DAEMONS
    }
    assert sorted(files) == sorted(map(str, links.values())) == sorted(METRICS.values())
    for name, target in links.items():
        service = (ROOT / "systemd" / name).with_suffix(".service").read_text()
        mode, user = folders[str(target.parent)]
        assert (mode, files[str(target)]) == ("0755", ["0644", user, user])
        assert f"\nUser={user}\n" in service
        for line in (f"RuntimeDirectory={target.parent.name}", f"RuntimeDirectoryMode={mode}"):
            assert f"\n{line}\nRuntimeDirectory" in service


def test_the_packages_program_runs_nothing_of_the_working_directory() -> None:
    """Isolated: neither the working directory, nor PYTHONPATH, nor a user's own packages."""
    assert LAUNCHER.partition("\n")[0] == "#!/opt/plateseal/bin/python3 -I"
    for path in (ROOT / "systemd").glob("*.service"):
        program = path.read_text().partition("\nExecStart=")[2].partition(" ")[0]
        assert program in ("/usr/bin/plateseal", "/sbin/fstrim"), path


def test_versions_say_which_python_they_are_for() -> None:
    """So that packages for two Debians have two names."""
    assert debian_version("0.1.0", "3.11") == "0.1.0+py3.11"
    assert debian_version("1.2.0rc1", "3.13") == "1.2.0~rc1+py3.13"
    assert debian_version("1.2.0.dev3", "3.13") == "1.2.0~dev3+py3.13"


@pytest.mark.needs("dpkg")
def test_debian_orders_versions_as_they_come() -> None:
    """A candidate is older than its release, and the next Debian's package newer than this one's."""
    order = ["0.1.0", debian_version("0.1.0", "3.11"), debian_version("0.1.0", "3.13")]
    order += [debian_version("0.2.0rc1", "3.11"), debian_version("0.2.0rc1", "3.13"), debian_version("0.2.0", "3.11")]
    assert len(order) == 6
    for older, newer in itertools.pairwise(order):
        assert subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=False).returncode == 0


def test_the_changelog_is_in_debians_form() -> None:
    """Each point is one, whatever its length; nothing of Markdown's headings is left."""
    text = (ROOT / "CHANGELOG.md").read_text()
    made = changelog(text, version="1.0+py3.11", moment=0)
    assert made.startswith("plateseal (1.0+py3.11) unstable; urgency=medium\n\n  * ")
    assert made.count("\n  * ") == text.count("\n- ")
    assert " -- The plateseal maintainers <maintainers@plateseal.example>  Thu, 01 Jan 1970 00:00:00 +0000" in made
    assert max(len(line) for line in made.splitlines() if not line.startswith(" -- ")) <= 80


def test_pruning_leaves_the_code_and_the_licences(tmp_path: Path) -> None:
    """Tests and stubs go, with the folders that they leave empty."""
    gone = ["numpy/tests/test_it.py", "numpy/it.pyi", "numpy/f2py/it.py", "onnxruntime/capi/libonnxruntime.so.1.2"]
    kept = ["numpy/it.py", "numpy/tests_of_mine.py", "x.dist-info/licenses/LICENSE", "x.dist-info/METADATA"]
    for name in [*gone, *kept]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    prune(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not (tmp_path / "onnxruntime").exists()


@pytest.mark.needs("eu-strip")
def test_what_a_library_needs_is_found_in_it(tmp_path: Path) -> None:
    """An extension module asks for a C library of some version; a library that is not in the tree is refused."""
    shutil.copyfile(module("_cffi_backend"), tmp_path / "_cffi_backend.so")
    assert [entry.partition(" (>= 2.")[0] for entry in needs(tmp_path)] == ["libc6"]
    shutil.copyfile(module("numpy._core._multiarray_umath"), tmp_path / "_multiarray_umath.so")
    with pytest.raises(LibraryError, match="openblas.* is neither in the package nor among libc,"):
        needs(tmp_path)
