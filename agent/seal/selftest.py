"""A known-answer test of every primitive, before a daemon takes its first frame or sends its first byte.

Owns: the vectors and what is compared. A machine whose AES gives a wrong answer, after a bad update of a library or
with a broken processor, must not seal a single read: nobody could open it, and it would be erased here once delivered.

The HPKE answers go through the suite table and through the public calls that sealing and opening use, whose associated
data is empty. The published vectors have some, so the fixed ciphertext is made here from the published `key` and
`base_nonce` of the vector: it opens only if decapsulation and the whole key schedule (HKDF-SHA256) give that very key.

Source: FIPS 180-4 (SHA-256); McGrew and Viega, The Galois/Counter Mode, test case 14; RFC 8439 section 2.8.2; RFC 8032
section 7.1, TEST 3; RFC 9180 appendix A.2.1 and, for P-256 with AES-256-GCM, the full set of vectors that RFC 9180
names in appendix A; the hybrid's ciphertext was made once with this program.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import SelfTestError
from agent.wire import suites
from agent.wire.suites import ContentCipher, KeyType

Check = Callable[[], bool]
"""Computes a known answer; False, or one of the errors below, is a wrong one."""

_RFC9180_INFO: Final = b"Ode on a Grecian Urn"
_RFC9180_PLAINTEXT: Final = b"Beauty is truth, truth beauty"
_HYBRID_SEED: Final = bytes(range(32))
_HYBRID_PUBLIC_SHA256: Final = "c9a3565ffde4f72b51661be391ee13e46378d7f06dd5c8bf5af9d2cfb5b8336b"
_HYBRID_INFO: Final = b"plateseal self-test"
_HYBRID_PLAINTEXT: Final = b"plateseal known answer"
_HYBRID_CIPHERTEXT: Final = base64.b64decode(
    "2wddxE5q6svhzKjN8X9dhacHvAlzeox0OA2P60QcRcb1WqwI8YjFo7HiOrk0z/fbnmKtcPtCPg8q+S30r0fpJbmcDRakg1M1q02iQIv+8Vo4"
    "6b7zrr0hFlQR1NWkAOZD3DvOu1FYTfzkgIQp87Jwet4kl4bA9oJC6tvYNg/Y+hTIq5HfBRfEACkvSSHO0yIoXP/LJQe0L4Y3uR4mxp3J/u4x"
    "eozfpiVAERN+BY5CxzPYmuzER6P6dDBMLV/ZqPYroX4aaFNDwrxbVlsjIEinWP7eVBQGD/V7GewHo4Gj58ZQr276i+1Q/aAkiRkSaNvjBKHk"
    "RVgEreAuz/4/OQlm3QyajMJaoLsShTWc9bkAAuSTW+O8CncgAji8GpzaOTABsXVKIqk2uDyIVD5GCObCFBrs4mGAPK+xGJAi2wZtxeesKy7k"
    "04GOS23aCCyCx647RZpOUs5daTIJGI6iyyEvQLvmaB5IgOJavYC0/26AwXxdST5WTuOKRUhfWsNiKLnRIJAhKtHAzetO/oAvD2kjkb6i7RVR"
    "uE5uIYt/mBGOnzlZkrhFkEGtep2X6gEgm12ypjHWKY+N+iGUDJQPCHlXKCKHxTS1SprnHO2SzA5KdySiH6nH4vwKbQn+wbEE0y1LdjVhUK2r"
    "7pR21JV+ef2XqB6IrGepeLJbh7Q6EVAK9vMWsw9YYgs/dIiNr/YDfJY9koD2oYlmJpnWquITAgD96BBE6O+GY3mPIdQ1h0arf3Nj1RqS5/tb"
    "7wmWkZrBEE9YJ1AezK9J7tBg5ZOEUPdrz7YSXZi193fyfpVPOQjbMnRUfRo+6zxFXgD3QnmeOk6OTXq0LJJHJuRthM3dupSVI8++ozCrYwYn"
    "+hAuyqPClCNotJtaq+w/cWFt8cfzytqNxnI/+bp8h0iPSqb3FToAoNijzKGexIpuIDLvx7n5/6vSPehvDDb/Xoa47Hk/syKLDFWxTUNfUn+b"
    "P7dcah+Mpp7AM66begirrXWMApSWsa6naKUVAgoi2L8LUXnEWueOFF7c7Pt+QrPET8/+xLFqQ1WGQyRlB1BgEEDMUKd4lDBg+9yJARrxH3wh"
    "RzeLXoxFRcm0PxSjJquDOhpGvay1iMIX5F/W3FZXOMm/UP7960uXZQdQ8eZM4Hn3G+gHklgJxd0VAnUwLSieVVztygpnbyLUFEpfaRZbojD4"
    "1RELaH5MQ9iTwCmlwhSU9jXtWFon/qsAORlAPer85CX96MBtqbpBHEBuWALOZvP0i0E3qZ42iKp+fkj1ats4lWxJPchALPE+rZbG8HMFnVJN"
    "aJvj9c/T/sofCcdCmpGqd2RJ0qqNYw6CB4LHIsHIiWyuN3qGR5Q3Y3hT1gr2YwwP3RHRcvdS3HklAFxa5BjqQRsz1t/LhFFI0foIOWyJ1xHB"
    "tZNT3+VqOEuY787LxUzkh1aGwEqp69q3gAqVd5MHSVtzng5T7nKN62Crnfh41NvMY++hzk27cmSwN3XGOJxhp4hjcaqjg3mSvgw9qF4Cphig"
    "CGFcb1DbyWus6FckrJqXoSwncqDkOTm0"
)


def run_self_test(checks: dict[str, Check]) -> None:
    """Compute every known answer.

    Args:
        checks: `CAPTURE_CHECKS` or `UPLOAD_CHECKS`.

    Raises:
        SelfTestError: Names every primitive that answers wrongly. The caller must not go on.
    """
    wrong = [name for name, check in checks.items() if not _holds(check)]
    if wrong:
        raise SelfTestError(
            f"self-test: {', '.join(wrong)} of this machine give wrong answers; nothing was started. "
            "Reinstall the cryptography package, and suspect the hardware if that does not help"
        )


def _holds(check: Check) -> bool:
    try:
        return check()
    except (InvalidTag, InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False


def _sha256() -> bool:
    return hashlib.sha256(b"abc").hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def _aes_256_gcm() -> bool:
    key, nonce, plaintext = bytes(32), bytes(12), bytes(16)
    sealed = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
    return _seals_and_opens(
        ContentCipher.AES_256_GCM, key=key, nonce=nonce, plaintext=plaintext, aad=None, sealed=sealed
    )


def _chacha20_poly1305() -> bool:
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would "
        b"be it."
    )
    sealed = bytes.fromhex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
        "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"
    )
    return _seals_and_opens(
        ContentCipher.CHACHA20_POLY1305,
        key=bytes(range(0x80, 0xA0)),
        nonce=bytes.fromhex("070000004041424344454647"),
        plaintext=plaintext,
        aad=bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
        sealed=sealed,
    )


def _seals_and_opens(
    cipher: ContentCipher, *, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes | None, sealed: bytes
) -> bool:
    aead = suites.content_aead(suites.CONTENT_ALGS[cipher], key)
    return aead.encrypt(nonce, plaintext, aad) == sealed and aead.decrypt(nonce, sealed, aad) == plaintext


_ED25519_PUBLIC: Final = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
_ED25519_MESSAGE: Final = bytes.fromhex("af82")
_ED25519_SIGNATURE: Final = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def _ed25519_sign() -> bool:
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    )
    return key.public_key().public_bytes_raw() == _ED25519_PUBLIC and key.sign(_ED25519_MESSAGE) == _ED25519_SIGNATURE


def _ed25519_verify() -> bool:
    """A right signature holds, and one that is wrong by a bit does not."""
    key = Ed25519PublicKey.from_public_bytes(_ED25519_PUBLIC)
    key.verify(_ED25519_SIGNATURE, _ED25519_MESSAGE)
    try:
        key.verify(bytes([_ED25519_SIGNATURE[0] ^ 1]) + _ED25519_SIGNATURE[1:], _ED25519_MESSAGE)
    except InvalidSignature:
        return True
    return False


def _hpke_x25519() -> bool:
    return _opens_rfc9180(
        KeyType.X25519,
        ContentCipher.CHACHA20_POLY1305,
        private="8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        enc="1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
        key="ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91",
        base_nonce="5c4d98150661b848853b547f",
    )


def _hpke_p256() -> bool:
    return _opens_rfc9180(
        KeyType.P256,
        ContentCipher.AES_256_GCM,
        private="317f915db7bc629c48fe765587897e01e282d3e8445f79f27f65d031a88082b2",
        enc="04c06b4f6bebc7bb495cb797ab753f911aff80aefb86fd8b6fcc35525f3ab5f03e"
        "0b21bd31a86c6048af3cb2d98e0d3bf01da5cc4c39ff5370d331a4f1f7d5a4e0",
        key="ee16802a936d5f544771131900ee6973d0551de9e852ece2ef34bf0d5f9e1d1d",
        base_nonce="9bc50980832a7b4b58c40161",
    )


def _opens_rfc9180(
    key_type: KeyType, aead: ContentCipher, *, private: str, enc: str, key: str, base_nonce: str
) -> bool:
    """Open what the published context seals first, with empty associated data."""
    suite = suites.SUITES[key_type]
    context = suites.content_aead(suites.CONTENT_ALGS[aead], bytes.fromhex(key))
    sealed = context.encrypt(bytes.fromhex(base_nonce), _RFC9180_PLAINTEXT, None)
    opened = suite.hpke.decrypt(
        bytes.fromhex(enc) + sealed, suite.load_private(bytes.fromhex(private)), info=_RFC9180_INFO
    )
    return opened == _RFC9180_PLAINTEXT


def _hpke_hybrid() -> bool:
    suite = suites.SUITES[KeyType.HYBRID]
    public = suite.derive_public(_HYBRID_SEED)
    opened = suite.hpke.decrypt(_HYBRID_CIPHERTEXT, suite.load_private(_HYBRID_SEED), info=_HYBRID_INFO)
    return hashlib.sha256(public).hexdigest() == _HYBRID_PUBLIC_SHA256 and opened == _HYBRID_PLAINTEXT


UPLOAD_CHECKS: Final[dict[str, Check]] = {"SHA-256": _sha256, "Ed25519 verification": _ed25519_verify}
"""What erasing on proof rests on."""
CAPTURE_CHECKS: Final[dict[str, Check]] = {
    **UPLOAD_CHECKS,
    "Ed25519 signing": _ed25519_sign,
    "AES-256-GCM": _aes_256_gcm,
    "ChaCha20-Poly1305": _chacha20_poly1305,
    "HPKE X25519": _hpke_x25519,
    "HPKE P-256": _hpke_p256,
    "HPKE ML-KEM-768+X25519": _hpke_hybrid,
}
"""What sealing rests on, keyring and chain included."""
