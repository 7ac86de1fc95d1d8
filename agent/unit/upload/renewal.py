"""The next TLS certificate of this unit, fetched over the connection that the one in use opens.

Owns: carrying the request that capture has signed, and proving the answer before it is used: the new certificate must
be for the same key, and the receiver must let this unit in with it. Leaves to others: the request
(`agent.keys.renewal`), taking the file up (`tls_files`), and who gets one (the receiver's owner).

Invariant: the certificate in use stays in use until the receiver has answered to the new one.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.config.models import UnitConfig
from agent.disk import durable
from agent.errors import KeyFileError, PlatesealError, TransportError
from agent.keys import keyfiles
from agent.keys.certificate import load_certificate
from agent.keys.renewal import RENEWED_NAME, is_due, load_request, newest_certificate
from agent.ports import Clock
from agent.upload.tls import HttpsTransport, client_context

FIRST_AFTER_S: Final = 5.0
LOOK_EVERY_S: Final = 15.0
"""How often the unit's own files are looked at; the receiver is asked far less often."""
ASK_EVERY_S: Final = 600.0
"""While a request waits for a person: about 1 kB each time."""

_DRAFT: Final = RENEWED_NAME + ".new"

_log = logging.getLogger(__name__)


class CertificateRenewal:
    """Asks for a new certificate when it is time, on a thread of its own."""

    def __init__(self, unit: Callable[[], UnitConfig], ask: Callable[[bytes], bytes | None], clock: Clock) -> None:
        """Prepare.

        Args:
            unit: Returns the configuration in use.
            ask: Carries a request to the receiver; returns the new certificate (PEM), or None while it waits. Raises
                `TransportError`.
            clock: Says what time it is.
        """
        self._unit = unit
        self._ask = ask
        self._clock = clock
        self._told = ""
        self._asked: bytes | None = None
        self._ask_at_s = clock.monotonic_s()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; a request that is under way is left to its time limits."""
        self._ended.set()

    def look(self) -> None:
        """Ask if it is time. What hinders is logged when it changes, and not raised."""
        try:
            told = self._renew()
        except TransportError as error:
            told = f"no new TLS certificate: {error}"
        except PlatesealError as error:
            told = f"the new TLS certificate is not used, the one before goes on: {error}"
        if told and told != self._told:
            _log.warning("%s", told)
        self._told = told

    def _renew(self) -> str:
        """Ask, and use what comes. Returns what somebody should know."""
        unit = self._unit()
        path = newest_certificate(unit.upload.certificate, unit.state_dir)
        certificate = load_certificate(path)
        if not is_due(certificate, self._clock.now()):
            return ""
        request = load_request(unit.state_dir)
        if request is None or request.certificate_der != certificate.public_bytes(Encoding.DER):
            return ""  # capture has not signed one yet
        now_s = self._clock.monotonic_s()
        if request.data == self._asked and now_s < self._ask_at_s:
            return self._told
        self._asked = request.data
        self._ask_at_s = now_s + ASK_EVERY_S * random.uniform(0.9, 1.1)  # noqa: S311  spreads load, hides nothing
        answer = self._ask(request.data)
        if answer is None:
            return (
                f"{path} ends on {certificate.not_valid_after_utc:%Y-%m-%d}; a new one is asked for, and waits for the "
                "receiver's owner: plateseal receiver renew DIR --units"
            )
        _check_answer(answer, certificate)
        self._use(answer, unit)
        return ""

    def _use(self, pem: bytes, unit: UnitConfig) -> None:
        """Connect with a new certificate, and let it follow the one in use if the receiver lets this unit in.

        Raises:
            TransportError: No answer came.
            KeyFileError: It does not fit the key, the receiver refuses it, or the disk does.
        """
        draft = unit.state_dir / _DRAFT
        keyfiles.replace_file(draft, pem, keyfiles.PUBLIC_MODE)
        status = _try_out(draft, unit, self._clock)
        if status != HTTPStatus.NO_CONTENT:
            raise KeyFileError(f"the receiver answered {status} to it")
        try:
            durable.rename_durably(draft, unit.state_dir / RENEWED_NAME)
        except OSError as error:
            raise KeyFileError(f"{draft}: cannot be renamed: {error.strerror}") from None
        _log.info("a new TLS certificate has come from the receiver, and connects")

    def _run(self) -> None:
        wait_s = FIRST_AFTER_S
        while not self._ended.wait(wait_s):
            self.look()
            wait_s = LOOK_EVERY_S


def _check_answer(pem: bytes, before: x509.Certificate) -> None:
    """Check that an answer is a certificate that can follow the one in use.

    Raises:
        KeyFileError: It is none, another key's, or the same again.
    """
    try:
        new = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise KeyFileError("the receiver's answer is not a PEM certificate") from None
    if new.public_key() != before.public_key():
        raise KeyFileError("the receiver's answer is for another key")
    if new.not_valid_after_utc <= before.not_valid_after_utc:
        raise KeyFileError("the receiver's answer ends no later than the one in use")


def _try_out(certificate: Path, unit: UnitConfig, clock: Clock) -> int:
    """Return the receiver's status for a connection with a certificate, 204 if it lets this unit in."""
    settings = unit.upload
    with closing(
        HttpsTransport(
            settings.url,
            context=client_context(ca=settings.ca, certificate=certificate, key=settings.key),
            clock=clock,
            connect_timeout_s=settings.connect_timeout_s,
            reply_timeout_s=settings.reply_timeout_s,
        )
    ) as transport:
        return transport.ask()
