"""pip in a Debian root works as on this machine."""

from __future__ import annotations

from pathlib import Path

from tests.lend_pip import options, paths, settings


def test_settings_of_files_and_of_variables_become_variables() -> None:
    """A file's setting for every command or for `install`; a variable wins; lists stay lists."""
    listing = "global.index-url='https://example.org/simple'\ninstall.find-links='/a\\n/b'\nlist.format='json'\n:env:.cert='x'"
    environ = {"PIP_INDEX_URL": "https://example.net/simple", "https_proxy": "http://example.net:1", "HOME": "/root"}
    assert settings(listing, environ) == {
        "PIP_INDEX_URL": "https://example.net/simple",
        "PIP_FIND_LINKS": "/a /b",
        "https_proxy": "http://example.net:1",
    }


def test_what_a_setting_names_is_lent_as_widely_as_the_root_lacks_it(tmp_path: Path) -> None:
    """A local index with its neighbours; a certificate alone where the root has a folder of that name."""
    host, root = tmp_path / "host", tmp_path / "root"
    (host / "index/simple").mkdir(parents=True)
    (host / "certs").mkdir()
    (host / "certs/ca.pem").touch()
    inside = root / host.relative_to("/")
    inside.mkdir(parents=True)
    (inside / "of the root").touch()
    named = [
        f"file://{host}/index/simple file:///nowhere/simple",
        f"{host}/certs/ca.pem",
        "https://example.org/etc/hosts",
        "180",
    ]
    assert paths(named, root) == [host / "certs", host / "index"]
    for bound in ("certs", "index/simple"):
        (inside / bound).mkdir(parents=True)
    assert paths(named, root) == [host / "certs", host / "index"]
    (inside / "certs/other.pem").touch()
    assert paths(named, root) == [host / "certs/ca.pem", host / "index"]


def test_options_are_systemd_nspawns(tmp_path: Path) -> None:
    """One variable and one path each."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/one.whl").touch()
    lent = list(options(Path("/"), f"global.find-links='{tmp_path}/wheels'", {}))
    assert lent[0] == f"--setenv=PIP_FIND_LINKS={tmp_path}/wheels"
    assert f"--bind-ro={tmp_path}/wheels" in lent
