"""Text and JSON without what differs from run to run: ids, times, sizes, measured numbers, paths, ports.

What is replaced leaves its form behind: 64 hex digits are `<hex 64>`, a date is `0000-00-00`. Words, counts, names and
texts of plates stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

NUMBER: Final = "<number>"
_VARIES: Final = (
    (r"/[^\s'\":,;]*?/(agent|models|\.venv)/", r"<plateseal>/\1/"),
    (r"\b(INFO|WARNING|ERROR) agent\.[a-z_.]+:", r"\1 <module>:"),
    (r"(plate-detector-\d+x\d+)-int8 runs on", r"\1 runs on"),  # which of the two does is the processor's
    (r"(\d\d:\d\d:\d\d)\.\d{6}\b", r"\1"),  # Python leaves six zeros out
    (r"\d{4}-\d\d-\d\d(?=$|[^\d])", "0000-00-00"),
    (r"(?<!\d)\d\d:\d\d:\d\d(\.\d+)?", lambda match: re.sub(r"\d", "0", match[0])),
    (r"(0000-00-00[ T])\d\d:\d\d", r"\g<1>00:00"),
    (r"\bRW[\w+/]{54}(?![\w+/=])", "<minisign key>"),
    (r"\b[\w+/]{86,}={0,2}(?![\w+/=])", "<base64>"),
    (r"(?<=passphrase )[\w-]{20}(?![\w-])", "<passphrase>"),
    (r"\b[0-9A-F]{16}\b", "<key number>"),
    (r"\b[0-9a-f]{8,}\b", lambda match: f"<hex {len(match[0])}>"),
    (r"(?<![\w.])[\d,.]*\d (bytes|B|kB|MB|GB|TB|MiB|GiB|%)(?!\w)", r"<number> \1"),
    (r"(?<![\w.-])-?\d+\.\d+(?![\w.])", NUMBER),
    (r"\b\d+ (d|h|min|days)( \d+ (h|min))?(?!\w)", "<duration>"),
    (r"[─━┏┳┓┡╇┩│┃└┴┘┌┬┐├┼┤╷╵╴╶]+", "|"),
    (r"[-=]{4,}", "----"),
    (r"(?<=\S) {2,}", "  "),
)
"""In this order: what is replaced, and by what."""
VARYING_KEYS: Final = frozenset(
    {"bytes", "pending_bytes", "quarantined_bytes", "size_bytes", "disk_free_bytes", "disk_size_bytes", "oldest_s"}
    | {"certificate_s", "keyring_s", "lag_ms", "box", "frame", "votes", "looks"}
)
"""Numbers in JSON that are measured; and so is whatever is no whole number."""
TOLD_KEYS: Final = frozenset(
    {"python", "system", "passphrase", "clock", "csr", "public_key", "proof", "temperature_mc"}
)
"""Values in JSON that are the machine's or drawn."""


class Plain:
    """Replaces what is known of one run, and then what differs from run to run in general."""

    def __init__(self) -> None:
        """Know nothing of the run yet."""
        self._known: dict[str, str] = {}

    def know(self, value: str, name: str) -> None:
        """Show `name` in place of a text that this run made up, as its folder or its port."""
        self._known[value] = name

    def text(self, text: str) -> str:
        """Return one line or many."""
        for value, name in self._known.items():
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", name, text)
        for pattern, form in _VARIES:
            text = re.sub(pattern, form, text)
        return re.sub(r" +$", "", text, flags=re.MULTILINE)

    def lines(self, text: str) -> list[str]:
        """Return the lines of a text."""
        return self.text(text).splitlines()

    def json_lines(self, value: object) -> list[str]:
        """Return one line for each number, text, true, false or null of a JSON value, with its place."""
        return sorted(set(self._flat(value, "", "")))

    def _flat(self, value: object, place: str, key: str) -> Iterator[str]:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                yield from self._flat(inner, f"{place}.{self.text(name)}", name)
        elif isinstance(value, list) and value:
            for index, inner in enumerate(value):
                yield from self._flat(inner, f"{place}[{index}]", key)
        else:
            yield f"{place or '.'} = {self._scalar(value, key)}"

    def _scalar(self, value: object, key: str) -> str:
        if key in TOLD_KEYS:
            return f"<{key}>"
        if isinstance(value, str):
            return json.dumps(self.text(value), ensure_ascii=False)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return NUMBER if is_number and (isinstance(value, float) or key in VARYING_KEYS) else json.dumps(value)
