"""From which values on somebody should look at a unit: one place for the unit's own warnings and the fleet page."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

SILENT_AFTER: Final = timedelta(minutes=3)
"""A unit reports once a minute; two that are lost are bad luck."""
OLD_BACKLOG: Final = timedelta(hours=1)
VERY_OLD_BACKLOG: Final = timedelta(hours=24)
FULL_SHARE: Final = 0.8
"""Of what the spool may hold: from seven eighths on, crops may be left out."""
KEYRING_SHORT: Final = timedelta(days=14)
"""Time to notice, to make keys with the people who hold them, and to bring the file to every unit."""
CERTIFICATE_SHORT: Final = timedelta(days=30)
"""Time to notice, and to carry a new certificate to every unit."""
SERVER_CERTIFICATE_SHORT: Final = timedelta(days=60)
"""The receiver's own: when it ends, every unit stops at once. Time for who renews it by hand, once in two years."""
CERTIFICATE_URGENT: Final = timedelta(days=7)
DISK_SHORT_SHARE: Final = 0.10
DISK_URGENT_SHARE: Final = 0.03
HOT_MC: Final = 80_000
"""Thousandths of a degree Celsius. A Raspberry Pi slows down from 80 degrees on."""
SLOW_CAMERA_MS: Final = 3_000
"""A stream that is five seconds behind is connected again."""
CAMERA_CLOCK_OFF_MS: Final = 2_000
"""A camera whose clock is this far off has no time server, or cannot reach it."""
