"""What somebody should look at on the receiver itself: it stands above the units on the fleet page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from agent.errors import KeyFileError
from agent.health.assess import Finding, Level, span
from agent.health.limits import CERTIFICATE_URGENT, SERVER_CERTIFICATE_SHORT
from agent.keys.certificate import certificate_end
from agent.receiver.admission.renewals import RenewalBook
from agent.receiver.layout import ReceiverLayout

_ABOUT: Final = "the receiver's certificate"
_RENEW: Final = "plateseal receiver renew, or its own CA, renews it"


def own_findings(layout: ReceiverLayout, now: datetime) -> Iterator[Finding]:
    """Look at the receiver's own files, at an aware time."""
    yield from _certificate(layout, now)
    waiting = len(RenewalBook(layout).waiting())
    if waiting:
        words = "1 unit waits" if waiting == 1 else f"{waiting} units wait"
        yield Finding(
            Level.LOOK, "certificates:", f"{words} for a new one; plateseal receiver renew {layout.directory} --units"
        )


def _certificate(layout: ReceiverLayout, now: datetime) -> Iterator[Finding]:
    try:
        left = certificate_end(layout.server_certificate) - now
    except KeyFileError as error:
        yield Finding(Level.TROUBLE, _ABOUT, f"cannot be read: {error}")
        return
    if left <= timedelta(0):
        yield Finding(Level.TROUBLE, _ABOUT, f"ended {span(-left)} ago, and units refuse it; {_RENEW}")
    elif left < SERVER_CERTIFICATE_SHORT:
        level = Level.TROUBLE if left < CERTIFICATE_URGENT else Level.LOOK
        yield Finding(level, _ABOUT, f"ends in {span(left)}, and every unit stops with it; {_RENEW}")
