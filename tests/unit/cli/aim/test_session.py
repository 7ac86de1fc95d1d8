"""`plateseal aim` as it is called: with a terminal and without."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner, Result

from agent.cli.aim.command import aim
from agent.cli.aim.screen import HALF_BLOCK
from agent.cli.aim.session import choose_camera
from agent.errors import PlatesealError, SourceError, UsageError
from tests.fakes.rtsp import PlainRtspServer
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.toy_models import render_clip, render_frame, write_toy_models
from tests.unit.config.test_cameras import SOUTH
from tests.unit.config.test_load import GOOD, write

PLATESEAL = Path(sys.executable).with_name("plateseal")
LEAVES_SCREEN = b"\x1b[?1049l"
"""What gives the terminal back as it was."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toy models."""
    return write_toy_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with one vehicle."""
    return render_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", ["KRW482"]).clip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures that is shown at one a second, for longer than any test looks at it."""
    folder = tmp_path_factory.mktemp("scene")
    first = folder / "000.png"
    cv2.imwrite(str(first), render_frame([("KRW482", (200, 120, 340, 166))]))
    for number in range(1, round(WITHIN_S)):
        os.link(first, folder / f"{number:03}.png")
    return folder


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(aim)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Terminal:
    """A program on a terminal of 80x24 characters."""

    def __init__(self, arguments: list[str], *, folder: Path) -> None:
        """Start `plateseal aim` in a folder."""
        self._ours, theirs = pty.openpty()
        self.resize(80, 24)
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = subprocess.Popen(
            [PLATESEAL, "aim", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env
        )
        os.close(theirs)
        self.shown = b""

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str | bytes) -> None:
        """Read on until a text is shown that was not shown before."""
        wanted, before = text if isinstance(text, bytes) else text.encode(), len(self.shown)
        wait_until(
            lambda: wanted in self._more()[before:], otherwise=lambda: self.shown[-3000:].decode(errors="replace")
        )

    def end(self) -> int:
        """Read to the end and return the exit status."""
        wait_until(lambda: self._more() and self.process.poll() is not None)
        self._more()
        return self.process.returncode

    def close(self) -> None:
        """End what is left."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _more(self) -> bytes:
        while select.select([self._ours], [], [], 0)[0]:
            try:
                self.shown += os.read(self._ours, 1 << 16)
            except OSError:  # the program has closed its side
                break
        return self.shown


@contextmanager
def _terminal(*arguments: object, folder: Path) -> Iterator[Terminal]:
    terminal = Terminal([str(argument) for argument in arguments], folder=folder)
    try:
        yield terminal
    finally:
        terminal.close()


def test_without_a_terminal_there_are_lines_of_text(models: Path, clip: Path) -> None:
    """The measures, the rate and the advice; no plate text, no control character; the end says what holds."""
    result = _run("--source", clip, "--models", models)
    assert (result.exit_code, result.stderr) == (0, "")
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"aim  {clip}  ")
    assert "; width " in last
    assert "read 1 of 1 plates in the last minute; " in last
    assert "\x1b" not in result.stdout
    assert "KRW482" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((), UsageError, "--config, or a source with --source"),
        (("--source", "x.mp4", "--camera", "bridge"), UsageError, "which --config names"),
        (("--source", "none.mp4"), SourceError, "no such file or folder"),
        (("--source", ""), SourceError, "must have 1 to 4096 characters"),
        (("--source", "x.mp4", "--save", "."), UsageError, "is there already"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], error: type[PlatesealError], words: str) -> None:
    """What, and what is allowed."""
    result = _run(*arguments)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_password_in_a_source_is_not_shown() -> None:
    """It may be typed, as for `plateseal read`; the settings look at the whole picture at all times."""
    camera = choose_camera(None, "rtsp://user:secret@127.0.0.1:9/x", None, None)
    assert (camera.camera_id, camera.source.pace) == ("aim", "real")
    assert (camera.vision.gate, camera.vision.detect_moving_part) == (False, False)


def test_a_camera_of_a_unit_is_aimed_with_its_settings(tmp_path: Path) -> None:
    """The first, or the one that is named; its source may be another, its models too."""
    config = write(tmp_path, GOOD + SOUTH)
    assert choose_camera(config, None, None, None).camera_id == "bridge-north"
    south = choose_camera(config, None, "bridge-south", None)
    assert (south.source.uri, south.vision.min_votes) == (str(tmp_path / "south.mp4"), 3)
    other = choose_camera(config, "/dev/video7", "bridge-south", tmp_path)
    assert (other.source.uri, other.vision.min_votes, other.vision.models) == ("/dev/video7", 3, tmp_path)
    with pytest.raises(UsageError, match="--camera west: there are bridge-north, bridge-south"):
        choose_camera(config, None, "west", None)


def test_a_mask_is_drawn_and_printed_and_nothing_is_written(models: Path, scene: Path, tmp_path: Path) -> None:
    """Two letters a corner; q ends with 0, and the terminal is as it was."""
    with _terminal("--source", scene, "--models", models, folder=tmp_path) as terminal:
        terminal.wait_for(HALF_BLOCK)
        terminal.press("iakakd\n")
        terminal.press("q")
        assert terminal.end() == 0
    after = terminal.shown.split(LEAVES_SCREEN)[1].decode()
    toml = after[after.index("[[vision.mask]]") :]
    assert tomllib.loads(toml.replace("\r\n", "\n")) == {
        "vision": {"mask": [{"polygon": [[0.8, 0.0], [1.0, 0.0], [1.0, 0.3]]}]}
    }
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("answer", "is_written"),
    [("y", True), ("", False), pytest.param("n", False, marks=pytest.mark.needs("campaigns"))],
)
def test_masks_are_saved_only_when_the_question_is_answered(
    models: Path, scene: Path, tmp_path: Path, answer: str, *, is_written: bool
) -> None:
    """A new file for the user alone; no is what Enter means."""
    with _terminal("--source", scene, "--models", models, "--save", "masks.toml", folder=tmp_path) as terminal:
        terminal.wait_for(HALF_BLOCK)
        terminal.press("aacaac\nq")
        terminal.wait_for("[y/N]")
        terminal.press(f"{answer}\n")
        assert terminal.end() == 0
    saved = tmp_path / "masks.toml"
    assert list(tmp_path.iterdir()) == ([saved] if is_written else [])
    if is_written:
        assert tomllib.loads(saved.read_text())["vision"]["mask"][0]["polygon"][1] == [0.2, 0.0]
        assert saved.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.needs("campaigns"))],
)
def test_a_signal_gives_the_terminal_back(models: Path, scene: Path, tmp_path: Path, number: int, code: int) -> None:
    """The exit code says which, no traceback, the keyboard as before, the numbers printed."""
    with _terminal("--source", scene, "--models", models, folder=tmp_path) as terminal:
        before = termios.tcgetattr(terminal._ours)
        terminal.wait_for(HALF_BLOCK)
        terminal.process.send_signal(number)
        assert terminal.end() == code
        assert termios.tcgetattr(terminal._ours)[3] & termios.ICANON
    assert before[3] & termios.ICANON
    after = terminal.shown.split(LEAVES_SCREEN)[1].decode()
    assert f"aim  {scene}" in after.replace("\r\n", "")
    assert "Traceback" not in after


def test_the_screen_follows_the_size_of_the_terminal(models: Path, scene: Path, tmp_path: Path) -> None:
    """Too small for a picture it says so, and the picture comes back."""
    with _terminal("--source", scene, "--models", models, folder=tmp_path) as terminal:
        terminal.wait_for(HALF_BLOCK)
        terminal.resize(40, 10)
        terminal.wait_for("60x16 for a picture")
        terminal.resize(120, 40)
        terminal.wait_for("mask done  Backspace" + " " * 40)
        terminal.press("q")
        assert terminal.end() == 0


def test_a_camera_that_is_not_there_is_told_and_waited_for(models: Path, tmp_path: Path) -> None:
    """Why, on the screen, without the password; q ends that too."""
    source = "rtsp://user:secret@127.0.0.1:9/x"
    with _terminal("--source", source, "--models", models, folder=tmp_path) as terminal:
        terminal.wait_for("nothing listens")
        terminal.press("q")
        assert terminal.end() == 0
    assert b"secret" not in terminal.shown


def test_a_camera_that_is_lost_comes_back(models: Path, tmp_path: Path) -> None:
    """The last picture stays with the reason beside it, until frames come again. No port is opened for anybody."""
    with (
        PlainRtspServer() as server,
        _terminal("--source", server.url, "--models", models, folder=tmp_path) as terminal,
    ):
        terminal.wait_for("pictures/s")
        assert _ports(terminal.process.pid) == (1, 0)
        server.stop()
        terminal.wait_for("no picture comes")
        server.start()
        terminal.wait_for("pictures/s")
        terminal.press("q")
        assert terminal.end() == 0
    assert list(tmp_path.rglob("*")) == []


def _ports(pid: int) -> tuple[int, int]:
    """Return how many connections a process has, and how many ports at which it can be reached."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    connected = reachable = 0
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in links:
                connected += fields[3] == "01"
                reachable += fields[3] != "01"
    return connected, reachable
