"""Plates that readers get wrong: short and long ones, two lines, look-alikes, characters outside the alphabet.

Patterns are those of `formats`. The detector and the figures on held-out renderings know only the plates of `formats`;
these are for the reader's training, and have held-out renderings of their own.
"""

from __future__ import annotations

from .foreign import SCRIPTS
from .formats import BLACK, EU_COLOURS, OLD_COLOURS, RGB, US_COLOURS, WHITE, YELLOW, Layout

SHORT = ("A9", "9A", "AA", "99", "AAA", "999", "A99", "AA9", "9AA", "A9A", "A 9", "AA 99", "AA 9", "9 A", "A 99")
LONG = (
    "AA 99 AA 9999",
    "AA99AA9999",
    "XXXXXXXXXX",
    "XXX XXXXXXX",
    "AAA 999 AAA",
    "XXXXXXXXX",
    "AAA 999999",
    "999 AA 9999",
)
ROUND, LIKE_ZERO, THIN, LIKE_ONE = (
    ("O", "D", "Q", "O", "D", "G", "C", "U"),
    ("0", "0", "8", "6", "9"),
    ("I", "L", "T", "J"),
    ("1", "1", "7"),
)
TWINS = (ROUND, LIKE_ZERO, THIN, LIKE_ONE)
US_TWINS = (
    "A{0}{0} 9{1}9",
    "{1}{0}A{0}9{1}{1}",
    "{0}{0}A {1}{1}9{3}",
    "{0}{2}A{0}{0}",
    "9{3}{1} {0}{0}A",
    "{2}{0}{0}99{1}",
    "A{0}A{2}{0}A",
)
BR_TWINS = (
    "A{0}{0}-9{1}9{1}",
    "{0}A{0}{1}A9{1}",
    "{0}{0}{0} {1}{0}{1}{1}",
    "{2}A{0}{3}{0}{1}9",
    "{0}{2}{0}-{1}{3}{1}9",
)
EU_TWINS = (
    "{0}A{1}9 A{0}{0}",
    "{0}A{0} {1}9{1}",
    "{1}9-{0}{0}-{0}A",
    "{1}{1}9{1} {0}{0}A",
    "A{0} {1}{3}{1}{0}A",
    "{0}{0}o{0}A 9{1}",
    "{2}A {3}{1}9 {2}{0}",
)
TWO = (
    "AA|9999",
    "AAA|999",
    "AA99|AAA",
    "AAA|9A99",
    "AA99|AA9999",
    "A99|AAA",
    "9A9|9999",
    "99|AAA9",
    "AAA|99",
    "A9|999",
    "XXX|XXX",
    "XX|XXX",
    "XXXX|XXX",
    "99AA|9999",
    "AAo|A9999",
    "999|AAA",
)
BRAZIL: tuple[tuple[RGB, RGB], ...] = (((150, 154, 158), BLACK), ((176, 178, 180), (24, 24, 26)), (WHITE, BLACK))
FOREIGN_PATTERNS = (
    "{0}999{0}{0}",
    "{0}A 9999",
    "{0}-AA 999",
    "A{0} 999",
    "{0}{0} 9999 {0}{0}",
    "99 {0} 999",
    "A{0}-A 99",
    "{0}{0}{0} 999",
    "{0}{0}{0}{0}{0}",
)

HARD_LAYOUTS: tuple[Layout, ...] = (
    Layout("short-eu", 5, SHORT, 4.6, EU_COLOURS, "eu"),
    Layout("short-plain", 5, SHORT, 3.0, ((WHITE, BLACK), (YELLOW, BLACK), *OLD_COLOURS[:3])),
    Layout("short-narrow", 4, SHORT, 1.8, ((WHITE, BLACK), (YELLOW, BLACK), *OLD_COLOURS[:2])),
    Layout("short-us", 3, SHORT, 2.0, US_COLOURS, scenery=True, header=True),
    Layout("long-plain", 5, LONG, 4.7, ((WHITE, BLACK), (YELLOW, BLACK), *OLD_COLOURS[:2])),
    Layout("long-eu", 3, LONG, 4.7, EU_COLOURS, "eu"),
    Layout("twins-us", 12, US_TWINS, 2.0, US_COLOURS, scenery=True, header=True, codes=TWINS),
    Layout("twins-br", 6, BR_TWINS, 3.08, BRAZIL, header=True, codes=TWINS),
    Layout("twins-mercosur", 6, BR_TWINS, 3.08, band="mercosur", codes=TWINS),
    Layout("twins-eu", 10, EU_TWINS, 4.7, EU_COLOURS, "eu", codes=TWINS),
    Layout("twins-plain", 5, EU_TWINS, 4.6, ((WHITE, BLACK), (YELLOW, BLACK)), codes=TWINS),
    Layout("lines-eu", 8, TWO, 1.4, EU_COLOURS, "eu"),
    Layout("lines-plain", 12, TWO, 1.35, ((WHITE, BLACK), (YELLOW, BLACK), *OLD_COLOURS, *BRAZIL)),
    Layout("lines-wide", 5, TWO, 1.9, ((WHITE, BLACK), (YELLOW, BLACK), *BRAZIL)),
    *(
        Layout(f"foreign-{n}", 2, FOREIGN_PATTERNS, 4.6, EU_COLOURS, "eu", codes=(tuple(s),))
        for n, s in enumerate(SCRIPTS)
    ),
)
