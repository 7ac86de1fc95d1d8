"""The fleet's pages as they are sent: judged anew after a few seconds, compressed once.

Owns: how old a page may be, and what of the fleet is remembered in between. Leaves to others: the judgement
(`agent.receiver.fleet.overview`), the markup (`agent.receiver.fleet.page`), who may look (`service`).

Of 3,000 units fifty report each second, so a page is out of date as soon as it is made; it says of which moment it is.
Records of devices are read again only where their files have changed, for reading and checking 3,000 of them takes
most of a second. Who may send is never answered from here.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.health.assess import Finding
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.fleet.overview import UnitState, assess_fleet
from agent.receiver.fleet.page import KEPT_S, render_fleet
from agent.receiver.fleet.shared import Fleet
from agent.receiver.fleet.view import View, within

_MAX_PAGES: Final = 32
"""Pages of one moment that are kept."""
_GZIP_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the HTML, and the same compressed by gzip."""

    body: bytes
    gzipped: bytes


@dataclass(frozen=True, slots=True)
class _Moment:
    """The fleet as it was judged at one time, and the pages that were made of that."""

    at: datetime
    units: list[UnitState]
    own: tuple[Finding, ...]
    pages: dict[View, Page] = field(default_factory=dict)


class FleetPages:
    """The pages of one receiver. Safe for threads."""

    def __init__(
        self,
        devices: DeviceBook,
        fleet: Fleet,
        own: Callable[[datetime], Iterable[Finding]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin with nothing remembered.

        Args:
            devices: Who is on the page.
            fleet: Their reports.
            own: Says at an aware time what is to be looked at on the receiver itself.
            now: The aware UTC time.
        """
        self._members = _Members(devices)
        self._fleet = fleet
        self._own = own
        self._now = now
        self._lock = threading.Lock()
        self._moment: _Moment | None = None

    def get(self, view: View) -> Page | None:
        """Return a page that is at most `KEPT_S` old; None of a unit that is not enrolled.

        Raises:
            ReceiverError: The devices or their reports cannot be read.
        """
        with self._lock:
            moment = self._moment
            if moment is None or not timedelta(0) <= self._now() - moment.at < timedelta(seconds=KEPT_S):
                moment = self._moment = self._judge()
            if view.unit is not None and all(unit.name != view.unit for unit in moment.units):
                return None
            view = within(view, len(moment.units))
            page = moment.pages.get(view)
            if page is None:
                page = self._make(moment, view)
            return page

    def _judge(self) -> _Moment:
        now = self._now()
        devices = self._members.not_revoked()
        forks = self._fleet.forks()
        shared = {each.name: forks[each.key_id] for each in devices if each.rotated is None and each.key_id in forks}
        names = [device.name for device in devices]
        return _Moment(now, assess_fleet(names, self._fleet.newest(), now, shared), tuple(self._own(now)))

    def _make(self, moment: _Moment, view: View) -> Page:
        body = render_fleet(moment.units, moment.at, own=moment.own, view=view)
        page = Page(body, gzip.compress(body, _GZIP_LEVEL, mtime=0))
        if len(moment.pages) >= _MAX_PAGES:
            moment.pages.clear()
        moment.pages[view] = page
        return page


class _Members:
    """The enrolled devices, whose records are read again where they have changed."""

    def __init__(self, devices: DeviceBook) -> None:
        self._devices = devices
        self._keys: frozenset[bytes] = frozenset()
        self._known: dict[bytes, tuple[object, Device]] = {}

    def not_revoked(self) -> list[Device]:
        """Return every enrolled key that is not revoked. Raises `ReceiverError` as `DeviceBook.all` does."""
        keys = frozenset(self._devices.receipt_keys())
        before = self._known if keys == self._keys else {}
        found: dict[bytes, tuple[object, Device]] = {}
        for key_id, stamp in self._devices.stamps().items():
            known = before.get(key_id)
            if known is not None and known[0] == stamp:
                found[key_id] = known
            elif (device := self._devices.by_key_id(key_id)) is not None:
                found[key_id] = stamp, device
        self._keys, self._known = keys, found
        return [device for _, device in found.values() if device.revoked is None]
