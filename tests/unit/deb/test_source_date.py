"""When the source is from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deb.source_date import source_date


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said by the environment of the tests."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An unpacked source archive."""
    (tmp_path / "CHANGELOG.md").write_text("x")
    os.utime(tmp_path / "CHANGELOG.md", (1_700_000_000, 1_700_000_000))
    return tmp_path


def test_what_the_environment_says_comes_first(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As other build tools have it."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    assert source_date(source) == 1_234_567_890


def test_without_git_the_changelog_tells_it(source: Path) -> None:
    """The archive keeps its time; a broken .git counts as none."""
    assert source_date(source) == 1_700_000_000
    (source / ".git").mkdir()
    assert source_date(source) == 1_700_000_000


@pytest.mark.needs("git")
def test_the_last_commit_tells_it(source: Path) -> None:
    """Not the time of the files."""
    who = ["-c", "user.name=x", "-c", "user.email=x@x.example"]
    environment = {**os.environ, "GIT_COMMITTER_DATE": "1600000000 +0000"}
    subprocess.run(["git", "init", "-q", str(source)], check=True)
    commit = ["git", "-C", str(source), *who, "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(commit, check=True, env=environment)
    assert source_date(source) == 1_600_000_000
