"""The known-answer test at every start, and the choice of the content cipher."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import SelfTestError
from agent.seal import cipher, selftest
from agent.seal.cipher import choose_cipher
from agent.seal.selftest import CAPTURE_CHECKS, UPLOAD_CHECKS, run_self_test
from agent.wire import suites
from agent.wire.suites import ContentCipher, KeyType


@pytest.mark.parametrize("name", CAPTURE_CHECKS)
def test_every_primitive_gives_its_known_answer(name: str) -> None:
    """On a sound machine each check holds by itself."""
    assert CAPTURE_CHECKS[name]() is True


def test_a_sound_machine_passes_both_sets() -> None:
    """Capture's set holds upload's: what erases on proof is also what seals."""
    run_self_test(CAPTURE_CHECKS)
    run_self_test(UPLOAD_CHECKS)
    assert CAPTURE_CHECKS.items() >= UPLOAD_CHECKS.items()


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


class _Aead:
    """An AEAD whose last byte is wrong."""

    def __init__(self, sound: Any) -> None:
        self._sound = sound

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
        """Encrypt, wrongly."""
        return _flip(self._sound.encrypt(nonce, data, aad))

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
        """Decrypt."""
        return bytes(self._sound.decrypt(nonce, data, aad))


def _break_aead(monkeypatch: pytest.MonkeyPatch, broken: ContentCipher) -> None:
    sound = suites.content_aead

    def content_aead(alg: object, key: bytes) -> Any:
        aead = sound(alg, key)
        return _Aead(aead) if alg == suites.CONTENT_ALGS[broken] else aead

    monkeypatch.setattr(suites, "content_aead", content_aead)


def test_a_wrong_aes_is_named_and_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be sealed; the P-256 suite, which uses the same AES, is named too."""
    _break_aead(monkeypatch, ContentCipher.AES_256_GCM)
    with pytest.raises(SelfTestError, match="AES-256-GCM, HPKE P-256 of this machine"):
        run_self_test(CAPTURE_CHECKS)


def test_a_wrong_chacha_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the other AEAD."""
    _break_aead(monkeypatch, ContentCipher.CHACHA20_POLY1305)
    with pytest.raises(SelfTestError, match="ChaCha20-Poly1305, HPKE X25519 of"):
        run_self_test(CAPTURE_CHECKS)


def test_a_wrong_sha256_stops_both_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests name envelopes, and receipts are checked against them."""
    monkeypatch.setattr(hashlib, "sha256", hashlib.sha224)
    for checks in (CAPTURE_CHECKS, UPLOAD_CHECKS):
        with pytest.raises(SelfTestError, match="self-test: SHA-256"):
            run_self_test(checks)


class _Everything:
    """A public key that finds every signature right."""

    def verify(self, _signature: bytes, _message: bytes) -> None:
        """Raise nothing."""

    @classmethod
    def from_public_bytes(cls, _: bytes) -> _Everything:
        """Take any key."""
        return cls()


def test_a_verification_that_always_holds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst failure of a verifier is silence: a forged signature must be refused."""
    monkeypatch.setattr(selftest, "Ed25519PublicKey", _Everything)
    with pytest.raises(SelfTestError, match="Ed25519 verification"):
        run_self_test(UPLOAD_CHECKS)


def test_a_wrong_signature_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing with another key's bytes is a wrong answer."""

    class Wrong:
        @staticmethod
        def from_private_bytes(_: bytes) -> Ed25519PrivateKey:
            return Ed25519PrivateKey.generate()

    monkeypatch.setattr(selftest, "Ed25519PrivateKey", Wrong)
    with pytest.raises(SelfTestError, match="Ed25519 signing"):
        run_self_test(CAPTURE_CHECKS)


@pytest.mark.parametrize(
    ("name", "key_type"), [("HPKE X25519", KeyType.X25519), ("HPKE ML-KEM-768+X25519", KeyType.HYBRID)]
)
def test_a_key_derived_wrongly_is_found(monkeypatch: pytest.MonkeyPatch, name: str, key_type: KeyType) -> None:
    """Decapsulation with another private key opens nothing."""
    sound = suites.SUITES[key_type].load_private
    object.__setattr__(suites.SUITES[key_type], "load_private", lambda raw: sound(_flip(raw)))
    try:
        with pytest.raises(SelfTestError, match=name.replace("+", r"\+")):
            run_self_test({name: CAPTURE_CHECKS[name]})
    finally:
        object.__setattr__(suites.SUITES[key_type], "load_private", sound)


def test_a_primitive_that_is_missing_is_a_wrong_answer() -> None:
    """A library built without it, or in a mode that forbids it, cannot seal."""

    def missing() -> bool:
        raise UnsupportedAlgorithm("not here")

    with pytest.raises(SelfTestError, match="self-test: X of"):
        run_self_test({"X": missing})


@pytest.mark.parametrize("wanted", list(ContentCipher))
def test_a_configured_cipher_is_not_measured(wanted: ContentCipher) -> None:
    """The timer is not even asked."""
    assert choose_cipher(wanted, timer=lambda: pytest.fail("asked")) is wanted


def _timer(*round_s: float) -> Iterator[float]:
    """Yield times so that the rounds of the first cipher take the first length, and so on."""
    now_s = 0.0
    for length_s in round_s:
        for _ in range(cipher.ROUNDS):
            yield now_s
            now_s += length_s
            yield now_s


@pytest.mark.parametrize(
    ("aes_s", "chacha_s", "expected"),
    [
        (1.0, 2.0, ContentCipher.AES_256_GCM),
        (2.0, 1.0, ContentCipher.CHACHA20_POLY1305),
        (1.0, 1.0, ContentCipher.AES_256_GCM),
        (0.0, 0.0, ContentCipher.AES_256_GCM),
    ],
)
def test_auto_takes_the_faster_cipher_and_says_so(
    caplog: pytest.LogCaptureFixture, aes_s: float, chacha_s: float, expected: ContentCipher
) -> None:
    """A tie, and a timer too coarse to tell, go to AES-256-GCM."""
    times = _timer(aes_s, chacha_s)
    with caplog.at_level("INFO"):
        assert choose_cipher("auto", timer=lambda: next(times)) is expected
    assert caplog.text.count(f"sealing with {expected}") == 1


def test_one_slow_round_does_not_decide() -> None:
    """The best of several rounds counts: an interrupted one says nothing about the cipher."""
    calls = count()
    # AES: one round of 9 s, the others of 1 s. ChaCha20: all of 2 s.
    lengths_s = [9.0] + [1.0] * (cipher.ROUNDS - 1) + [2.0] * cipher.ROUNDS
    edges = [edge for index, length in enumerate(lengths_s) for edge in (index * 10.0, index * 10.0 + length)]
    assert choose_cipher("auto", timer=lambda: edges[next(calls)]) is ContentCipher.AES_256_GCM
