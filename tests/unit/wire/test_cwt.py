"""Another implementation, the `cwt` library, verifies and opens what we seal."""

from __future__ import annotations

import io

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cwt import COSE, COSEKey

from agent.custody.opener import PrivateKey
from agent.keys.keyring import KeyringBook
from agent.seal.sealer import Sealer
from agent.wire import suites
from agent.wire.plaintext import parse_plaintext
from agent.wire.receipt import Receipt, sign_receipt
from tests.fakes.envelopes import first_position
from tests.fakes.reads import NOON, SAMPLE, make_keyring, make_recipient

KEY = Ed25519PrivateKey.generate()


def verifier() -> COSE:
    """Return cwt's COSE with the device's public key checks that it does by default."""
    return COSE.new()


def device_key(kid: bytes) -> COSEKey:
    """Return the device's public key as cwt wants it."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return COSEKey.from_pem(pem, kid=kid)


def recipient_key(private: PrivateKey) -> COSEKey:
    """Return a private key as cwt wants it: our COSE_Key, and that it derives bits."""
    suite = private.suite
    key = suite.cose_key(suite.derive_public(private.raw))
    derive_bits = 8
    return COSEKey.new({**key, 2: private.kid, 3: suite.alg, 4: [derive_bits], suite.private_label: private.raw})


@pytest.mark.parametrize("run", [None, 0], ids=["version 1", "version 2"])
@pytest.mark.parametrize("cipher", list(suites.ContentCipher))
@pytest.mark.parametrize("key_type", [suites.KeyType.X25519, suites.KeyType.P256])
def test_cwt_verifies_and_opens_an_envelope(
    key_type: suites.KeyType, cipher: suites.ContentCipher, run: int | None
) -> None:
    """Signature, HPKE recipient and content all hold in another implementation, for both ciphers and versions."""
    recipient, private = make_recipient(key_type)
    sealer = Sealer(signing_key=KEY, book=KeyringBook(make_keyring(recipient)), cipher=cipher)
    envelope = sealer.seal(SAMPLE, first_position(run=run))
    outer_protected = cbor2.loads(envelope.data).value[0]

    protected, _, payload = verifier().decode_with_headers(envelope.data, device_key(envelope.device_kid))
    plaintext = verifier().decode(payload, recipient_key(private), external_aad=outer_protected)

    assert parse_plaintext(plaintext, version=envelope.position.version) == SAMPLE
    assert (protected["ps"]["seq"], protected["ps"]["chain"]) == (0, envelope.position.chain)
    read = io.BytesIO(plaintext)
    assert cbor2.load(read)["text"] == SAMPLE.text
    padding = read.read()
    if run is None:
        assert (protected["ps"]["v"], padding) == (1, b"")
    else:
        assert (protected["ps"]["v"], protected["ps"]["run"], len(protected["ps"]["com"])) == (2, run, 32)
        assert padding == bytes(len(padding)) != b""


@pytest.mark.parametrize("prev", [None, b"\x05" * 32], ids=["version 1", "version 2"])
def test_cwt_verifies_a_receipt(prev: bytes | None) -> None:
    """A receipt is a plain COSE_Sign1 with an EdDSA signature."""
    receipt = Receipt(
        envelope_id="ab" * 32,
        length=100,
        device_kid=b"\x01" * 32,
        chain=b"\x02" * 16,
        seq=3,
        stored_at=NOON,
        log_index=7,
        prev=prev,
    )
    data = sign_receipt(receipt, KEY)
    kid = cbor2.loads(cbor2.loads(data).value[0])[4]
    payload = cbor2.loads(verifier().decode(data, device_key(kid)))
    assert payload["id"] == bytes.fromhex(receipt.envelope_id)
    assert (payload["log"], payload.get("prev")) == (7, prev)
