"""What the table of `make newest` says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.newest import Environment, Kept, Row, rows


class _Canned(Environment):
    """An environment in which one library is old, and another one too that a third holds back."""

    installed = {"old": "1.0", "held": "1.0", "fine": "2.0"}  # noqa: RUF012  the test's own
    newest = {"old": "2.0", "held": "3.0"}  # noqa: RUF012  the test's own
    tried: list[str] = []  # noqa: RUF012  the test's own

    def pip(self, *arguments: str) -> str:
        """Answer `pip list`, and note what is installed."""
        if arguments[0] == "install":
            wishes = [wish.partition("==") for wish in arguments if "==" in wish]
            self.installed.update({name: version for name, _, version in wishes})
        outdated = "--outdated" in arguments
        names = self.newest if outdated else self.installed
        return json.dumps(
            [{"name": name, "version": self.installed[name], "latest_version": self.newest.get(name)} for name in names]
        )

    def passes(self, tests: list[str]) -> bool:
        """Fail with the newest of one library."""
        self.tried.append(" ".join(tests))
        return self.installed["old"] == "1.0"

    def _complaints(self) -> str:
        return "third wants held<2" if self.installed["held"] == "3.0" else ""


def test_each_newest_version_is_tried_alone_and_kept(tmp_path: Path) -> None:
    """Among versions that are there again afterwards; a second run takes what the first one found."""
    environment = _Canned(tmp_path / "venv", tmp_path / "log")
    expected = [
        Row("old", "1.0", "2.0", "fails"),
        Row("held", "1.0", "3.0", "passes; held back: third wants held<2"),
    ]
    for _ in range(2):
        assert list(rows(environment, Kept(tmp_path / "found.json"), [], ["tests"])) == expected
        assert environment.installed == {"old": "1.0", "held": "1.0", "fine": "2.0"}
    assert len(environment.tried) == 2
    assert [row.name for row in rows(environment, Kept(tmp_path / "found.json"), ["Held"], ["tests"])] == ["held"]
