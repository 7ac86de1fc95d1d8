"""Faults of a unit's keys and of the owner's keyring on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.keys import make_keys
from agent.disk.files import LocalFiles
from agent.keys.keyfiles import load_ed25519_public, private_pem
from agent.keys.keyring import read_keyring
from agent.keys.keyring_serial import SerialNote
from agent.wire.suites import KeyType
from tests.fakes.owner import PASSPHRASE, QUICK
from tests.faults.planted.acts import DOCTOR, Plant, bring, command, cut_off, done, mode, put, remove, write
from tests.faults.planted.fault import Fault, by_hand, printed
from tests.faults.planted.site import EPOCH, Site

MORE_KEYS: Final = "custody keys --dir {owner} --passphrase-file {passphrase} --epochs 1 --epoch 20d --from "
INIT: Final = "device init --name north-gate --dir {root}/new"
NEW_IDENTITY: Final = (
    printed("mv "),
    printed("plateseal device init"),
    printed(
        "plateseal receiver enrol",
        {"RECEIVER": "{running}", "enrolment.json": "{identity}/enrolment.json"},
    ),
)
"""The unit's keys are gone: new ones are made in their place, and the receiver takes them."""


NEW_KEYRING: Final = bring("keyring.cose", "{owner}/keyring.cose", "{device}/keyring.cose")


def day(days: int) -> str:
    """Return a day from today on, as commands take it."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def other_owner(site: Site) -> None:
    """Make another owner, in `other`."""
    make_keys(
        site.root / "other", recipients=["agency"], key_type=KeyType.HYBRID, start=datetime.now(UTC), epochs=1,
        epoch=EPOCH, passphrase=PASSPHRASE, scrypt=QUICK,
    )  # fmt: skip


def _keys_that_end_in(days: float) -> Plant:
    def plant(site: Site) -> None:
        remove("{owner}")(site)
        end = datetime.now(UTC) + timedelta(days=days)
        make_keys(
            site.owner, recipients=["agency"], key_type=KeyType.HYBRID, start=end - EPOCH, epochs=1, epoch=EPOCH,
            passphrase=PASSPHRASE, scrypt=QUICK, now=end - EPOCH,
        )  # fmt: skip
        put("{owner}/keyring.cose", "{device}/keyring.cose")(site)
        put("{owner}/owner.pub", "{device}/owner.pub")(site)

    return plant


def _rolled_back(site: Site) -> None:
    """The unit has used the newest keyring, and an earlier one was put back."""
    command(MORE_KEYS + day(100))(site)
    newer = read_keyring(site.owner / "keyring.cose", load_ed25519_public(site.owner / "owner.pub"))
    SerialNote(site.state, LocalFiles()).admit(*newer)


P256: Final = private_pem(ec.generate_private_key(ec.SECP256R1()))
SAMPLE_KEY: Final = private_pem(Ed25519PrivateKey.from_private_bytes(bytes(32)))

FAULTS: Final = (
    Fault(
        "the signing key is open to others",
        DOCTOR,
        mode("{identity}/signing.key", 0o644),
        ("signing.key: mode 0644 lets others at a private key",),
        (printed("chmod 600"),),
        check="private keys",
    ),
    Fault(
        "the TLS key is open to its group",
        DOCTOR,
        mode("{identity}/tls.key", 0o640),
        ("tls.key: mode 0640 lets others at a private key",),
        (printed("chmod 600"),),
        check="private keys",
    ),
    Fault(
        "the signing key is gone",
        DOCTOR,
        remove("{identity}/signing.key"),
        ("signing.key: is missing; it is this unit's private signing key",),
        NEW_IDENTITY,
        check="private keys",
    ),
    Fault(
        "the TLS key is gone",
        DOCTOR,
        remove("{identity}/tls.key"),
        ("tls.key: is missing; it is this unit's private TLS key",),
        NEW_IDENTITY,
        check="private keys",
    ),
    Fault(
        "the signing key is of another kind",
        DOCTOR,
        write("{identity}/signing.key", P256),
        ("signing.key: holds an ECDSA secp256r1 key, an Ed25519 private key is needed",),
        NEW_IDENTITY,
        check="private keys",
    ),
    Fault(
        "the signing key is half a file",
        DOCTOR,
        cut_off("{identity}/signing.key", 40),
        ("signing.key: not a PEM private key",),
        NEW_IDENTITY,
        check="private keys",
    ),
    Fault(
        "the signing key is one that everybody knows",
        DOCTOR,
        write("{identity}/signing.key", SAMPLE_KEY),
        ("signing.key is a key from a test or a document",),
        NEW_IDENTITY,
        check="sample keys",
    ),
    Fault(
        "the keyring is not there",
        DOCTOR,
        remove("{device}/keyring.cose"),
        ("keyring.cose: is missing; it is the owner's signed keyring",),
        (NEW_KEYRING,),
        check="keyring",
    ),
    Fault(
        "the keyring is half a file",
        DOCTOR,
        cut_off("{device}/keyring.cose", 100),
        ("keyring.cose: keyring: ",),
        (NEW_KEYRING,),
        check="keyring",
    ),
    Fault(
        "the keyring is another owner's",
        DOCTOR,
        done(other_owner, put("{root}/other/keyring.cose", "{device}/keyring.cose")),
        ("keyring.cose: ", "signed by key ", ", expected "),
        (NEW_KEYRING,),
        check="keyring",
    ),
    Fault(
        "the pinned owner key is another owner's",
        DOCTOR,
        done(other_owner, put("{root}/other/owner.pub", "{device}/owner.pub")),
        ("keyring.cose: ", "signed by key ", ", expected "),
        (bring("bring the owner's newest keyring.cose and owner.pub", "{owner}/owner.pub", "{device}/owner.pub"),),
        check="keyring",
    ),
    Fault(
        "a keyring in the owner key's place",
        DOCTOR,
        put("{owner}/keyring.cose", "{device}/owner.pub"),
        ("owner.pub: not a PEM public key",),
        (bring("bring the owner's newest keyring.cose and owner.pub", "{owner}/owner.pub", "{device}/owner.pub"),),
        check="keyring",
    ),
    Fault(
        "the keyring has run out",
        DOCTOR,
        _keys_that_end_in(-2),
        ("ended 2 d", "(serial 1)"),
        (
            printed(
                "plateseal custody keys", {"OWNER": "{owner}", "DATE": f"{day(0)} --passphrase-file {{passphrase}}"}
            ),
            NEW_KEYRING,
        ),
        check="keyring",
    ),
    Fault(
        "the keyring ends in days",
        DOCTOR,
        _keys_that_end_in(5),
        ("ends in 4 days (serial 1)",),
        (
            printed(
                "plateseal custody keys", {"OWNER": "{owner}", "DATE": f"{day(6)} --passphrase-file {{passphrase}}"}
            ),
            NEW_KEYRING,
        ),
        check="keyring",
        is_warning=True,
    ),
    Fault(
        "the keyring is older than one that was used",
        DOCTOR,
        _rolled_back,
        ("serial 1 is older than serial 2, which this device has used before",),
        (NEW_KEYRING,),
        check="keyring",
    ),
    Fault(
        "the making of a unit's keys was cut off",
        INIT,
        done(lambda site: (site.root / "new").mkdir(mode=0o700), write("{root}/new/signing.key", P256)),
        ("holds signing.key of an identity whose making was cut off",),
        (by_hand("remove them and run this again", remove("{root}/new")),),
    ),
)
