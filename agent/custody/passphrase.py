"""Reading the passphrase of the owner's key files from a file, and what may be odd about one.

Every byte but the line end counts, and always has: a file that opens keys today opens them tomorrow. So what an editor
added unseen is never taken away; it is told where the passphrase does not fit, and refused where a new one is set.
"""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path
from typing import Final

from agent.errors import KeyFileError
from agent.keys.keyfiles import read_private_file

MAX_PASSPHRASE_BYTES: Final = 1024
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_passphrase_file(path: Path) -> bytes:
    """Return a file's content without the line end that editors add.

    Raises:
        KeyFileError: Missing, unreadable, open to group or others, empty, longer than a passphrase, or with NUL bytes,
            which scrypt's HMAC cannot tell from nothing at the end.
    """
    data = read_private_file(path, what="a passphrase")
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise KeyFileError(f"{path}: is empty, a passphrase is needed")
    if len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise KeyFileError(f"{path}: longer than {MAX_PASSPHRASE_BYTES} bytes, which no passphrase is")
    if b"\x00" in passphrase:
        utf16 = "; it is text in UTF-16, save it as UTF-8" if data.startswith(_UTF16) else ""
        raise KeyFileError(f"{path}: holds a NUL byte, which no passphrase may{utf16}")
    return passphrase


def oddities(passphrase: bytes) -> list[str]:
    """Return what is in a passphrase that nobody types, as phrases that go on "the file ..."; none for a plain one."""
    found = []
    if passphrase.startswith(codecs.BOM_UTF8):
        found.append("begins with a byte order mark")
        passphrase = passphrase.removeprefix(codecs.BOM_UTF8)
    if passphrase.strip(b" \t") != passphrase:
        found.append("begins or ends with blanks")
    if b"\n" in passphrase or b"\r" in passphrase:
        found.append("has more than one line")
    try:
        text = passphrase.decode()
    except UnicodeDecodeError:
        return [*found, "is not UTF-8"]
    if unicodedata.normalize("NFC", text) != text:
        found.append("has letters with their accents apart (decomposed, NFD), which no keyboard's input is taken as")
    return found


def read_new_passphrase(path: Path) -> bytes:
    """Return a file's content for keys that are to be made or changed; it must be one that can be typed as well.

    Raises:
        KeyFileError: As `read_passphrase_file`, or with something in it that an editor adds unseen.
    """
    passphrase = read_passphrase_file(path)
    odd = oddities(passphrase)
    if odd:
        raise KeyFileError(
            f"{path}: {' and '.join(odd)}, and all of that would be the passphrase. Save one line of UTF-8 with "
            "nothing around it"
        )
    return passphrase
