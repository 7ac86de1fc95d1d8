"""Faults of the owner's passphrase, key files and keyring, and half a copy of the folder."""

from __future__ import annotations

import codecs
import shutil
import unicodedata
from typing import Final

from tests.fakes.owner import PASSPHRASE
from tests.faults.planted.acts import Plant, command, done, mode, put, remove, write
from tests.faults.planted.fault import Act, Fault, by_hand, printed
from tests.faults.planted.of_keys import day, other_owner
from tests.faults.planted.site import Site

WITH: Final = "--dir {owner} --passphrase-file {passphrase}"
OPEN: Final = f"custody open {WITH} --store {{receiver}} --case 2027-0815 --reason theft"
AUDIT: Final = "custody audit --dir {owner}"
KEYS: Final = f"custody keys {WITH} --epochs 1 --epoch 20d --from {day(100)}"
COPY: Final = f"custody copy {WITH} --out {{root}}/second"
PASSPHRASE_FILE: Final = write("{passphrase}", PASSPHRASE + b"\n")
ACCENTS: Final = "Schlüssel für später, Straße"


def copied(site: Site) -> None:
    """Make a second copy of the folder, as BACKUP.md says."""
    command(f"custody copy {WITH} --out {{root}}/copy")(site)


def back(says: str, *names: str) -> Act:
    """Bring files back from the copy."""
    return by_hand(says, done(*(put(f"{{root}}/copy/{name}", f"{{owner}}/{name}") for name in names)))


def _last_key(site: Site) -> None:
    """The file of one epoch's key is empty, as a copy that was broken off leaves it."""
    max((site.owner / "private").iterdir()).write_bytes(b"")


def _swap_keys(site: Site) -> None:
    """One epoch's key lies under another one's name."""
    first, second, *_ = sorted((site.owner / "private").iterdir())
    shutil.copy(first, second)


def _under(passphrase: bytes) -> Plant:
    """The keys are under another passphrase, which was typed."""

    def plant(site: Site) -> None:
        new = site.root / "typed"
        new.write_bytes(passphrase + b"\n")
        new.chmod(0o600)
        command(f"custody passphrase {WITH} --new-passphrase-file {{root}}/typed")(site)

    return plant


TYPED_AGAIN: Final = put("{root}/typed", "{passphrase}")

FAULTS: Final = (
    Fault(
        "the passphrase is wrong",
        OPEN,
        write("{passphrase}", b"correct horse battery stable\n"),
        ("owner.key: does not open: the passphrase is wrong",),
        (by_hand("passphrase is wrong", PASSPHRASE_FILE),),
    ),
    Fault(
        "the passphrase's file begins with a byte order mark",
        OPEN,
        write("{passphrase}", codecs.BOM_UTF8 + PASSPHRASE + b"\n"),
        ("begins with a byte order mark",),
        (by_hand("save it as one line of UTF-8 with nothing around it", PASSPHRASE_FILE),),
    ),
    Fault(
        "the passphrase's file ends with blanks",
        OPEN,
        write("{passphrase}", PASSPHRASE + b"  \n"),
        ("begins or ends with blanks",),
        (by_hand("save it as one line of UTF-8 with nothing around it", PASSPHRASE_FILE),),
    ),
    Fault(
        "the passphrase's file has decomposed letters",
        OPEN,
        done(_under(ACCENTS.encode()), write("{passphrase}", unicodedata.normalize("NFD", ACCENTS).encode())),
        ("accents apart (decomposed, NFD)",),
        (by_hand("save it as one line of UTF-8 with nothing around it", TYPED_AGAIN),),
    ),
    Fault(
        "the passphrase's file is UTF-16",
        OPEN,
        write("{passphrase}", codecs.BOM_UTF16_LE + PASSPHRASE.decode().encode("utf-16-le")),
        ("holds a NUL byte", "it is text in UTF-16"),
        (by_hand("save it as UTF-8", PASSPHRASE_FILE),),
    ),
    Fault(
        "the passphrase's file is open to others",
        OPEN,
        mode("{passphrase}", 0o644),
        ("passphrase: mode 0644 lets others at",),
        (printed("chmod 600"),),
    ),
    Fault(
        "the passphrase's file is empty",
        OPEN,
        write("{passphrase}", b"\n"),
        ("passphrase: is empty, a passphrase is needed",),
        (by_hand("is empty", PASSPHRASE_FILE),),
    ),
    Fault(
        "the owner's key is open to others",
        OPEN,
        mode("{owner}/owner.key", 0o640),
        ("owner.key: mode 0640 lets others at",),
        (printed("chmod 600"),),
    ),
    Fault(
        "the owner's key is not in the folder",
        OPEN,
        done(copied, remove("{owner}/owner.key")),
        ("owner.key: is missing, though ", "half a copy of the folder"),
        (back("Bring it back from a whole copy", "owner.key"),),
    ),
    Fault(
        "the owner's key is an empty file",
        OPEN,
        done(copied, write("{owner}/owner.key", b"")),
        ("owner.key: is empty: half a copy of the folder",),
        (back("Bring it back from a whole copy", "owner.key"),),
    ),
    Fault(
        "the owner's public key is not in the folder",
        AUDIT,
        remove("{owner}/owner.pub"),
        ("owner.pub: is missing: half a copy of the folder",),
        (printed("plateseal custody open", {"open": OPEN.removeprefix("custody ")}),),
    ),
    Fault(
        "the owner's public key is another owner's",
        OPEN,
        done(other_owner, put("{root}/other/owner.pub", "{owner}/owner.pub")),
        ("owner.pub: is not the public half of owner.key",),
        (by_hand("remove it", remove("{owner}/owner.pub")),),
    ),
    Fault(
        "the folder of private keys is not there",
        OPEN,
        done(copied, remove("{owner}/private")),
        ("private: is missing: half a copy of the folder",),
        (back("Bring it back from a whole copy", "private"),),
    ),
    Fault(
        "a private key is an empty file",
        OPEN,
        done(copied, _last_key),
        ("it is empty, as half a copy leaves it",),
        (back("bring it back from a whole one", "private"),),
    ),
    Fault(
        "a private key is another file", OPEN, done(copied, _swap_keys), ("private/",), (back("whole copy", "private"),)
    ),
    Fault(
        "the keyring is not in the owner's folder",
        KEYS,
        done(copied, remove("{owner}/keyring.cose")),
        ("keyring.cose: is missing",),
        (back("copy", "keyring.cose"),),
    ),
    Fault(
        "the keyring in the owner's folder is another owner's",
        KEYS,
        done(copied, other_owner, put("{root}/other/keyring.cose", "{owner}/keyring.cose")),
        ("keyring.cose: ",),
        (back("copy", "keyring.cose"),),
    ),
    Fault(
        "the folder is not the owner's",
        OPEN,
        done(copied, remove("{owner}"), lambda site: site.owner.mkdir()),
        ("owner: holds no owner.key",),
        (back("owner.key", "."),),
    ),
    Fault(
        "the receiver's folder is not there",
        OPEN,
        lambda site: site.receiver.rename(site.root / "moved"),
        ("receiver: is not there",),
        (by_hand("a receiver's folder", lambda site: (site.root / "moved").rename(site.receiver)),),
    ),
    Fault(
        "a copy goes into a folder that is not empty",
        COPY,
        done(lambda site: (site.root / "second").mkdir(), write("{root}/second/note", b"x")),
        ("second: ",),
        (by_hand("new or empty folder", remove("{root}/second")),),
    ),
)
