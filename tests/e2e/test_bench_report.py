"""The report of a bench in a real browser: headless Chromium, from a file, offline."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.waiting import WITHIN_S
from tests.needs import CHROMIUM
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("chromium", "campaigns"),
]
WIDTHS_PX = (1280, 390)
PROBE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(one => !one.naturalWidth).length;
  parent.postMessage([innerWidth, document.documentElement.scrollWidth, broken, document.images.length].join(), "*");
})</script>"""
"""For a copy of the report without its policy: whether it fits the window, and whether its pictures are pictures."""
FRAME = """<!doctype html><link rel="icon" href="data:,"><body><script>
addEventListener("message", said => document.body.setAttribute("data-probe", said.data));
</script><iframe src="probed.html" style="border:0;width:{width_px}px;height:800px"></iframe>"""
"""A window as narrow as a phone's: a headless browser's own is never narrower than 500 pixels."""


def browse(page: Path, profile: Path) -> tuple[str, str]:
    """Open a page and return its DOM after loading, and everything that its console said."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={profile}", "--window-size=1400,900", "--virtual-time-budget=5000", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WITHIN_S)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a short clip, as the command writes it."""
    folder = tmp_path_factory.mktemp("report")
    toys = write_toy_models(folder / "toys")
    clip = render_clip(folder / "clip.mp4", random_texts(4)).clip
    command = [sys.executable, "-m", "agent.cli.main", "bench", str(clip), "--models", str(toys)]
    command += ["--compare", "fast-alpr", "--html", str(folder / "report.html")]
    subprocess.run(command, check=True, capture_output=True, timeout=WITHIN_S)
    return folder / "report.html"


def test_the_browser_finds_nothing_to_complain_about(report: Path, tmp_path: Path) -> None:
    """No console line at all: no blocked resource, no parse error. A page that has one shows that it would be seen."""
    dom, console = browse(report, tmp_path / "profile")
    assert console == ""
    assert "4 of 4" in dom
    bad = tmp_path / "bad.html"
    bad.write_text(report.read_text().replace("<main>", '<main><img src="https://example.invalid/x.png">'))
    _, console = browse(bad, tmp_path / "profile")
    assert "Content Security Policy" in console


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_it_fits_the_window_and_shows_its_pictures(report: Path, tmp_path: Path, width_px: int) -> None:
    """At a desktop's and a phone's width the page does not scroll sideways; every crop is a picture."""
    probed = tmp_path / "probed.html"
    text = re.sub(r"<meta http-equiv[^>]*>", "", report.read_text())
    probed.write_text(text.replace("</head>", f"{PROBE}</head>"))
    framed = tmp_path / "framed.html"
    framed.write_text(FRAME.format(width_px=width_px))
    dom, _ = browse(framed, tmp_path / "profile")
    probe = re.search(r'data-probe="([^"]*)"', dom)
    assert probe is not None
    window_px, page_px, broken, pictures = map(int, probe[1].split(","))
    assert (window_px, broken) == (width_px, 0)
    assert page_px <= window_px
    assert pictures >= 4
