"""Free fonts for rendered plates and signs, and glyph masks cut from them.

Owns the list of Debian packages with their licences, and the lookup of the installed files. The
glyphs of a font are cut out once and stretched to a cell later, as plate makers' dies are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

ByteArray = npt.NDArray[np.uint8]

FONT_ROOT = Path("/usr/share/fonts")
GLYPH_PX = 72  # font size the glyphs are cut at; plates are drawn at about 60 px a line
GLYPH_MARGIN = 0.14  # of the height of H, kept above and below for tails such as those of Q and J
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class FontPackage:
    """One Debian package and the files taken from it.

    `plate` files are bold or condensed enough for a plate's characters; `text` files serve for
    state names, slogans and signs.
    """

    package: str
    licence: str
    plate: tuple[str, ...]
    text: tuple[str, ...] = ()


PACKAGES: tuple[FontPackage, ...] = (
    FontPackage(
        "fonts-dejavu-core",
        "Bitstream Vera",
        ("DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSans"),
        ("DejaVuSerif-Bold",),
    ),
    FontPackage("fonts-dejavu-extra", "Bitstream Vera", ("DejaVuSansCondensed-Bold", "DejaVuSansCondensed")),
    FontPackage(
        "fonts-liberation",
        "GPL-2 with font exception, OFL-1.1",
        ("LiberationSansNarrow-Bold", "LiberationSansNarrow-Regular"),
    ),
    FontPackage(
        "fonts-liberation2",
        "OFL-1.1",
        ("liberation2/LiberationSans-Bold", "liberation2/LiberationMono-Bold"),
        ("liberation2/LiberationSerif-Bold", "liberation2/LiberationSerif-Italic"),
    ),
    FontPackage(
        "fonts-freefont-ttf",
        "GPL-3 with font exception",
        ("FreeSansBold", "FreeMonoBold"),
        ("FreeSerifBoldItalic", "FreeSerif"),
    ),
    FontPackage(
        "fonts-roboto-unhinted",
        "Apache-2.0",
        ("RobotoCondensed-Bold", "RobotoCondensed-Regular", "RobotoTTF/Roboto-Bold"),
        ("RobotoTTF/Roboto-BlackItalic",),
    ),
    FontPackage("fonts-opendin", "OFL-1.1", ("OSP-DIN",)),
    FontPackage("fonts-routed-gothic", "OFL-1.1", ("routed-gothic-narrow", "/routed-gothic", "gothic-wide")),
    FontPackage("fonts-b612", "OFL-1.1", ("B612-Bold", "B612Mono-Bold", "B612Mono-Regular")),
    FontPackage("fonts-bebas-neue", "OFL-1.1", ("BebasNeue-Bold", "BebasNeue-Regular")),
    FontPackage("fonts-national-park", "OFL-1.1", ("NationalPark-Heavy", "NationalPark-Regular")),
    FontPackage("fonts-inter", "OFL-1.1", ("Inter-SemiBold", "InterDisplay-Bold")),
    FontPackage("fonts-play", "OFL-1.1", ("opentype/play/Play-Bold", "opentype/play/Play-Regular")),
    FontPackage("fonts-mplus", "OFL-1.1", ("Mplus1-Bold", "MplusCodeLatin50-Bold", "Mplus2-Medium")),
    FontPackage("fonts-open-sans", "Apache-2.0", ("OpenSans-CondBold", "OpenSans-Semibold")),
    FontPackage("fonts-cabin", "OFL-1.1", ("Cabin-Bold",), ("Cabin-BoldItalic",)),
    FontPackage("fonts-dosis", "OFL-1.1", ("Dosis-Bold", "Dosis-ExtraBold")),
    FontPackage("fonts-cantarell", "OFL-1.1", ("Cantarell-Bold",)),
    FontPackage("fonts-manrope", "OFL-1.1", ("Manrope-Bold",)),
    FontPackage("fonts-karla", "OFL-1.1", ("karla/Karla-Bold",), ("karla/Karla-ExtraBold",)),
    FontPackage("fonts-lato", "OFL-1.1", ("Lato-Heavy",), ("Lato-BlackItalic",)),
    FontPackage("fonts-jetbrains-mono", "Apache-2.0, OFL-1.1", ("JetBrainsMono-Bold",)),
    FontPackage("fonts-inconsolata", "OFL-1.1", ("Inconsolata",)),
)


def _find(name: str, installed: tuple[Path, ...]) -> Path | None:
    """The installed file whose path ends in `name` (without its suffix), if any."""
    for path in installed:
        if str(path.with_suffix("")).endswith(name):
            return path
    return None


def _installed() -> tuple[Path, ...]:
    """Every font file of this machine, in a fixed order."""
    return tuple(sorted(p for p in FONT_ROOT.rglob("*") if p.suffix in {".ttf", ".otf"}))


def missing_packages() -> tuple[str, ...]:
    """Packages of which a listed file is not installed."""
    installed = _installed()
    return tuple(p.package for p in PACKAGES if not all(_find(name, installed) for name in p.plate + p.text))


def how_to_install(packages: tuple[str, ...]) -> str:
    """The command that gets packages."""
    return f"apt-get install {' '.join(packages)}"


@functools.cache
def font_files(kind: str) -> tuple[Path, ...]:
    """Installed font files of a kind, in the order of `PACKAGES`.

    Args:
        kind: `plate` or `text`; `text` includes the plate fonts.

    Raises:
        FileNotFoundError: Fewer than half of the listed files are installed; the message names the
            packages.
    """
    installed = _installed()
    names = [n for p in PACKAGES for n in (p.plate if kind == "plate" else p.plate + p.text)]
    found = [path for name in names if (path := _find(name, installed))]
    if len(found) * 2 < len(names):
        how = how_to_install(missing_packages())
        raise FileNotFoundError(f"fonts are missing in {FONT_ROOT}; on Debian: {how}")
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The glyphs of one font, ready to be stretched.

    Attributes:
        masks: Per character, uint8 (rows, ink width), 255 = ink; all have the same rows, which run
            from `GLYPH_MARGIN` above the H to `GLYPH_MARGIN` below it.
        cap_px: Height of the H, pixels.
        width_px: Median ink width of the digits, pixels.
    """

    masks: dict[str, ByteArray]
    cap_px: int
    width_px: float


@functools.cache
def load_face(path: Path) -> Face:
    """Cut the glyphs of `ALPHABET` out of a font file."""
    font = ImageFont.truetype(str(path), GLYPH_PX)
    _left, top, _right, bottom = (int(v) for v in font.getbbox("H"))
    cap = bottom - top
    margin = round(cap * GLYPH_MARGIN)
    masks = {}
    for character in ALPHABET:
        x1, _, x2, _ = (int(v) for v in font.getbbox(character))
        image = Image.new("L", (max(x2 - x1, 2), cap + 2 * margin))
        ImageDraw.Draw(image).text((-x1, margin - top), character, fill=255, font=font)
        masks[character] = np.asarray(image)
    widths = [masks[c].shape[1] for c in "023456789"]
    return Face(masks=masks, cap_px=cap, width_px=float(np.median(widths)))


@functools.cache
def sized_font(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    """A font opened at a size; kept, because opening costs more than drawing."""
    return ImageFont.truetype(str(path), size_px)


def text_mask(text: str, path: Path, size_px: int) -> ByteArray:
    """A line of running text as a mask.

    Returns:
        uint8 (h, w), 255 = ink, cropped to about the ink's box; 1x1 when nothing is drawn.
    """
    font = sized_font(path, size_px)
    x1, y1, x2, y2 = (int(v) for v in font.getbbox(text))
    image = Image.new("L", (max(x2 - x1, 1), max(y2 - y1, 1)))
    ImageDraw.Draw(image).text((-x1, -y1), text, fill=255, font=font)
    return np.asarray(image)
