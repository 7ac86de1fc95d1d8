"""What plates say and look like: text patterns, colours and proportions by kind.

Patterns: `A` a letter, `9` a digit, `X` either, `L` a letter without I, O and Q; `{n}` a code from
list n of the layout; a space is a gap, `-` and `.` are drawn but never read, `o` is a round seal,
`|` starts the second line. Kinds follow the real ones loosely: the models must learn plates, not one
country's rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RGB = tuple[int, int, int]

WHITE: RGB = (240, 240, 238)
BLACK: RGB = (18, 18, 20)
YELLOW: RGB = (246, 204, 28)
EU_BLUE: RGB = (10, 58, 160)

DE = "B M S F K HH HB DD L EF KA FR LB OG BM MTK WI DA KI N A R UL TÜ GÖ".replace("Ü", "U")
DE_CODES = tuple(DE.replace("Ö", "O").split())
RO_CODES = (
    "B",
    "IF",
    "CJ",
    "TM",
    "IS",
    "CT",
    "BV",
    "PH",
    "DB",
    "TR",
    "GR",
    "AG",
    "VL",
    "DJ",
    "SB",
    "MM",
    "BC",
    "SV",
    "NT",
    "BZ",
    "AR",
    "BH",
    "GL",
    "CL",
    "IL",
)
PL_CODES = (
    "WA",
    "WB",
    "WE",
    "WI",
    "WPR",
    "KR",
    "KRA",
    "GD",
    "PO",
    "PZ",
    "SK",
    "SZ",
    "DW",
    "LU",
    "EL",
    "CB",
    "BI",
    "RZ",
    "NOL",
    "ZS",
    "OP",
    "GA",
    "KWA",
)
AT_CODES = ("W", "G", "L", "S", "I", "K", "SB", "GU", "LL", "TU", "WU", "BN", "MD", "KB")
SK_CODES = ("BA", "KE", "ZA", "NR", "TT", "TN", "PO", "BB", "MT", "LM", "PP", "TO")
HR_CODES = ("ZG", "ST", "RI", "OS", "PU", "ZD", "KA", "VZ")
IT_CODES = ("AA", "AB", "BK", "CA", "CN", "DF", "EG", "FX", "GB")


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of plate.

    Attributes:
        name: The kind, for statistics.
        weight: How often it is drawn, relative to the others.
        patterns: Text patterns, see the module's docstring.
        aspect: Width / height of the plate.
        colours: Pairs of background and ink.
        band: `eu`, `right`, `both`, `mercosur`, `none`; the blue band.
        scenery: Drawn behind the text: gradients, hills, stripes (US).
        header: Words above (and below) the text.
        codes: Lists that `{0}`, `{1}` of the patterns draw from.
    """

    name: str
    weight: float
    patterns: tuple[str, ...]
    aspect: float
    colours: tuple[tuple[RGB, RGB], ...] = ((WHITE, BLACK),)
    band: str = "none"
    scenery: bool = False
    header: bool = False
    codes: tuple[tuple[str, ...], ...] = field(default=())


US_COLOURS: tuple[tuple[RGB, RGB], ...] = (
    ((238, 238, 240), (24, 40, 110)),
    ((240, 238, 230), (150, 24, 30)),
    ((232, 240, 236), (16, 90, 60)),
    ((242, 196, 40), (20, 24, 40)),
    ((240, 170, 50), (30, 40, 110)),
    ((24, 44, 120), (244, 200, 60)),
    ((20, 80, 60), (240, 240, 236)),
    ((190, 216, 240), (20, 34, 90)),
    ((120, 30, 40), (240, 236, 230)),
    ((20, 22, 26), (236, 200, 70)),
    ((236, 214, 190), (110, 40, 30)),
    ((200, 226, 200), (16, 70, 40)),
    ((240, 240, 240), (20, 20, 24)),
    ((170, 190, 220), (150, 30, 40)),
)
OLD_COLOURS: tuple[tuple[RGB, RGB], ...] = (
    ((24, 24, 26), (225, 225, 222)),
    ((20, 40, 110), (235, 235, 232)),
    ((120, 24, 30), (235, 232, 225)),
    ((22, 84, 50), (236, 236, 230)),
    ((200, 60, 40), (240, 240, 238)),
    ((130, 134, 138), (28, 28, 30)),
)
EU_COLOURS: tuple[tuple[RGB, RGB], ...] = (
    (WHITE, BLACK),
    ((228, 230, 226), (30, 30, 60)),
    ((236, 238, 240), (20, 20, 22)),
    ((240, 240, 236), (150, 24, 34)),
    ((240, 240, 236), (20, 100, 50)),
)
GENERIC = ("XXXXXX", "XXXXXXX", "XXX XXX", "XX XXXX", "XXXX XX", "AAA 999", "XXXXX", "XXXXXXXX")

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "eu-de",
        9,
        ("{0}oAA 999", "{0}oA 9999", "{0}oAA 9999", "{0}oAA 99", "{0} AA 999", "{0}-AA 9999"),
        4.73,
        EU_COLOURS[:3],
        "eu",
        codes=(DE_CODES,),
    ),
    Layout("eu-at", 2, ("{0}o999 AA", "{0}o9999 A", "{0}-99 AAA"), 4.6, band="eu", codes=(AT_CODES,)),
    Layout(
        "eu-pl",
        7,
        ("{0} 99999", "{0}o9999A", "{0}o999AA", "{0}oA9999", "{0} 9A999", "{0} 99A9"),
        4.56,
        band="eu",
        codes=(PL_CODES,),
    ),
    Layout("eu-cz", 6, ("9A9o9999", "9AA 9999", "9A9 9999", "AAA 99-99"), 4.73, band="eu"),
    Layout(
        "eu-sk",
        6,
        ("{0}o999AA", "{0}o999AA", "{0}o999 AA", "{0}-999AA", "{0} 999AA"),
        4.73,
        band="eu",
        codes=(SK_CODES,),
    ),
    Layout("eu-hu", 4, ("AAA-999", "AAAo999", "AA AA-999"), 4.73, band="eu"),
    Layout("eu-ro", 4, ("{0} 99 AAA", "B 999 AAA", "{0}o99oAAA"), 4.7, band="eu", codes=(RO_CODES,)),
    Layout("eu-fr", 5, ("AA-999-AA", "999 AAA 99", "9999 AA 99"), 4.73, EU_COLOURS[:2], "both"),
    Layout("eu-it", 4, ("LL 999LL", "LL999LL", "{0} 999LL"), 4.6, band="both", codes=(IT_CODES,)),
    Layout("eu-es", 5, ("9999 LLL", "9999-LLL", "A-9999-AA", "9999LLL"), 4.73, band="eu"),
    Layout("eu-pt", 3, ("99-99-AA", "99-AA-99", "AA-99-99", "AA 99 AA"), 4.73, band="both"),
    Layout(
        "eu-nl",
        5,
        ("99-AA-AA", "AA-99-AA", "99-AAA-9", "9-AAA-99", "AA-999-A", "99-AA-99"),
        4.73,
        (((246, 196, 30), BLACK), ((240, 180, 20), BLACK)),
        "eu",
    ),
    Layout("eu-be", 3, ("9-AAA-999", "AAA-999", "999-AAA"), 4.73, ((WHITE, (150, 20, 40)),), "eu"),
    Layout("eu-nordic", 5, ("AAA 999", "AAA o 999", "AAA-999", "AAA 99A", "AA 99 999"), 4.7, band="eu"),
    Layout("eu-baltic", 3, ("AA-9999", "AAA-999", "999 AAA", "AAA 999"), 4.7, band="eu"),
    Layout("eu-gr-bg", 3, ("AAA-9999", "AA 9999 AA", "A 9999 AA", "CA 9999 AA"), 4.7, band="eu"),
    Layout("eu-hr-si", 4, ("{0}o999-AA", "{0}o9999-A", "{0} A9-999"), 4.7, band="eu", codes=(HR_CODES,)),
    Layout("eu-ie", 2, ("99-A-99999", "999-A-9999", "99-AA-9999"), 4.73, band="eu"),
    Layout("eu-any", 12, GENERIC, 4.7, EU_COLOURS, "eu"),
    Layout("ch-no", 4, ("AA 99999", "AA 999999", "ZH-999999", "AA.99999", "GE 99999"), 4.6),
    Layout("uk-white", 5, ("AA99 AAA", "A999 AAA", "AA99AAA", "AAA 999A", "A9 AAA"), 4.68),
    Layout("uk-white-eu", 3, ("AA99 AAA", "A999 AAA", "A99 AAA"), 4.68, band="eu"),
    Layout(
        "uk-yellow",
        6,
        ("AA99 AAA", "A999 AAA", "AA99AAA", "AAA 999A"),
        4.68,
        ((YELLOW, BLACK), ((252, 214, 60), BLACK), ((232, 178, 20), BLACK)),
    ),
    Layout(
        "us",
        20,
        (
            "AAA 9999",
            "AAA-9999",
            "9AAA999",
            "AAA 999",
            "999 AAA",
            "AAA999",
            "XXXXXXX",
            "XXXXXX",
            "AA 99999",
            "99A 9999",
            "AAAAAAA",
            "AAAAAA",
            "999-999",
            "99 9999",
            "AAA 99A",
            "A99 99A",
        ),
        2.0,
        US_COLOURS,
        scenery=True,
        header=True,
    ),
    Layout("us-wide", 6, ("XXXXXXX", "AAA 9999", "999 AAA", "XXX XXX"), 2.6, US_COLOURS, scenery=True),
    Layout(
        "br-old",
        5,
        ("AAA-9999", "AAA.9999", "AAA 9999"),
        3.08,
        (((150, 154, 158), BLACK), ((176, 178, 180), (24, 24, 26)), ((180, 30, 30), WHITE)),
        header=True,
    ),
    Layout("mercosur", 6, ("AAA9A99", "AA 999 AA", "AAA 9A99", "AAA 9999"), 3.08, band="mercosur"),
    Layout("plain", 7, (*GENERIC, "AA-9999", "A-9999"), 4.2, ((WHITE, BLACK), (YELLOW, BLACK))),
    Layout("plain-short", 6, ("AAA 999", "XXXXXX", "XXXXX", "9999"), 2.8, EU_COLOURS),
    Layout("old-dark", 7, (*GENERIC, "AA-99-99", "999 AA", "AA 999"), 4.2, OLD_COLOURS),
    Layout(
        "two-eu",
        5,
        ("{0}|AA 999", "{0}o|A 9999", "AA99|AAA", "AAA|999", "9A9|9999"),
        1.4,
        band="eu",
        codes=(PL_CODES + DE_CODES,),
    ),
    Layout(
        "two-plain",
        5,
        ("AAA|9999", "AA99|AAA", "XXX|XXXX", "XX|XXXX", "AA|9999"),
        1.35,
        ((WHITE, BLACK), (YELLOW, BLACK), ((150, 154, 158), BLACK), *OLD_COLOURS[:2]),
    ),
)

HEADERS = (
    "California",
    "Texas",
    "Nevada",
    "Oregon",
    "Ohio",
    "Virginia",
    "Florida",
    "Georgia",
    "Arizona",
    "Utah",
    "Montana",
    "Idaho",
    "Maine",
    "Colorado",
    "Kansas",
    "Iowa",
    "Illinois",
    "Alabama",
    "Alaska",
    "Hawaii",
    "Vermont",
    "Delaware",
    "Maryland",
    "Missouri",
    "NEW_YORK",
    "NEW_JERSEY",
    "OKLAHOMA",
    "WASHINGTON",
    "MINNESOTA",
    "WISCONSIN",
    "PENNSYLVANIA",
    "TENNESSEE",
    "LOUISIANA",
    "KENTUCKY",
    "BRASIL",
    "SP-CURITIBA",
    "RJ-NITEROI",
    "MG-UBERABA",
)
SLOGANS = [
    "The Golden State",
    "Garden State",
    "Land of Lincoln",
    "Sunshine State",
    "Great Lakes",
    "First in Flight",
    "Empire State",
    "Live Free or Die",
    "Lone Star State",
    "Peach State",
    "Grand Canyon State",
    "Scenic",
    "America's Dairyland",
    "dmv.example",
    "Show-Me State",
    "Famous Potatoes",
]
