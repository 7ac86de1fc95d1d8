"""Fonts for the renderer that need no Debian package: the one that comes with Pillow, under every listed name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageFont

from models.training import fonts


def clear_font_caches() -> None:
    """Forget which files were found."""
    fonts.font_files.cache_clear()


@pytest.fixture(scope="session")
def font_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every font of `fonts.PACKAGES` is found."""
    root = tmp_path_factory.mktemp("fonts")
    built_in = ImageFont.load_default(fonts.GLYPH_PX)
    assert isinstance(built_in, ImageFont.FreeTypeFont), "this build of Pillow has no FreeType"
    for package in fonts.PACKAGES:
        for name in package.plate + package.text:
            path = root / package.package / f"{name.lstrip('/')}.ttf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(built_in.font_bytes)
    return root


@pytest.fixture
def some_fonts(font_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The renderer finds its fonts in `font_root`."""
    monkeypatch.setattr(fonts, "FONT_ROOT", font_root)
    clear_font_caches()
    yield
    clear_font_caches()
