"""Lines of settings, in every form that TOML has for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from agent.config.document import MAX_CONFIG_BYTES, Document
from agent.errors import ConfigError

EVERY_FORM = '''# a comment
top = 1
"quoted key" = 2

[section]
plain = "x"   # comment
dotted.inner = 3
text = """
[not.a.section]
fake = 1
"""
list = [
  1,  # one
  2,
]
inline = { a = 1, b = [ { c = 2 } ] }
literal = \'\'\'
# no comment
\'\'\'

[section.sub]
deep = true

[[camera]]
name = "a"
[camera.source]
uri = "u"
[[camera]]
name = "b"
  [[camera.mask]]
  x = 1
  [[camera.mask]]
  x = 2
'''

LINES = {
    ("top",): 2,
    ("quoted key",): 3,
    ("section",): 5,
    ("section", "plain"): 6,
    ("section", "dotted", "inner"): 7,
    ("section", "text"): 8,
    ("section", "list"): 12,
    ("section", "list", 1): 12,
    ("section", "inline", "b", 0, "c"): 16,
    ("section", "literal"): 17,
    ("section", "sub", "deep"): 22,
    ("camera", 0, "name"): 25,
    ("camera", 0, "source", "uri"): 27,
    ("camera", 1, "name"): 29,
    ("camera", 1, "mask", 0, "x"): 31,
    ("camera", 1, "mask", 1, "x"): 33,
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("place", LINES, ids=str)
def test_every_setting_has_its_line(place: tuple[str | int, ...], line_end: str) -> None:
    """Whatever way it is written, and with the line ends of any system."""
    document = Document.parse(EVERY_FORM.replace("\n", line_end).encode(), Path("x.toml"))
    assert document.lines[place] == LINES[place]


def test_what_is_missing_has_the_line_of_its_section() -> None:
    """And none where that is missing too."""
    document = Document.parse(EVERY_FORM.encode(), Path("x.toml"))
    assert document.line_of(("section", "sub", "no", "such")) == 21
    assert document.line_of(("camera", 1, "source")) == 28
    assert document.line_of(("nothing",)) is None


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=6)
_VALUES = st.recursive(
    st.integers(-(2**31), 2**31) | st.booleans() | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=5))
def test_no_setting_is_without_a_line(table: dict[str, object]) -> None:
    """Of anything that is TOML, every key at the top has the line it stands on."""
    text = tomli_w.dumps(table, multiline_strings=True)
    document = Document.parse(text.encode(), Path("x.toml"))
    assert set(document.table) <= {place[0] for place in document.lines}
    assert all(1 <= line <= text.count("\n") + 1 for line in document.lines.values())


@pytest.mark.parametrize("raw", [b"a = ", b"\xff\xfe", b"a = 1\na = 2", b"[" * 5000])
def test_what_is_no_toml_is_refused(raw: bytes) -> None:
    """With the file's name."""
    with pytest.raises(ConfigError, match=r"x\.toml: not TOML"):
        Document.parse(raw, Path("x.toml"))


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """And not beyond."""
    path = tmp_path / "long.toml"
    path.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match="longer than"):
        Document.load(path)
