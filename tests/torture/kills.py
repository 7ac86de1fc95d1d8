"""SIGKILL for capture, upload and receiver at random moments under load: every accepted read arrives, once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.torture.capture_process import Load
from tests.torture.fleet import BRISK, RECEIVER, Fleet, running
from tests.torture.places import quick_folder
from tests.torture.report import Result

TARGET: Final = "at least 2,000 SIGKILLs of real processes under load; every accepted read at the receiver exactly once"
KILLS: Final = 2000
REDUCED_KILLS: Final = 20
UNITS: Final = 3
LOAD: Final = Load(reads_per_s=10.0)
"""Of each unit: enough that no process idles, and little enough that the kills do not wait for the reads."""
MEAN_GAP_S: Final = 0.05
"""From the work that must have been done since the last kill to the next one."""
PATIENCE_S: Final = 2.0
"""How long that work is waited for: now and then processes also die before they get to any."""
LOOK_EVERY_S: Final = 0.02
POWER_CUTS: Final = 0.1
"""Share of the moments at which all processes of one unit die at once."""
SEED: Final = 5


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Kill, restart, let everything settle, and count."""
    began_s = time.monotonic()
    wanted = KILLS if full else REDUCED_KILLS
    with quick_folder("kills") as folder, running(Fleet(Path(folder), LOAD)) as fleet:
        fleet.set_up_receiver()
        fleet.start(RECEIVER)
        fleet.add_units(UNITS if full else 1, settings=BRISK)
        for part in fleet.parts():
            fleet.start(part)
        killed = kill_at_random(fleet, wanted, random.Random(SEED), say, parts=[RECEIVER, *fleet.parts()])
        fleet.settle()
        figures, holds = count_up(fleet)
    by_part = ", ".join(f"{count} {part}" for part, count in sorted(killed.items()))
    figures = f"{sum(killed.values())} kills ({by_part}); {figures}"
    return Result("kills", TARGET, figures, holds and sum(killed.values()) >= wanted, time.monotonic() - began_s)


def kill_at_random(
    fleet: Fleet, wanted: int, rng: random.Random, say: Callable[[str], None], *, parts: Sequence[str]
) -> Counter[str]:
    """Kill some of a fleet's running parts and start them again at once. Returns how many of each kind died."""
    killed: Counter[str] = Counter()
    while killed.total() < wanted:
        _await_work(fleet, rng)
        victims = [rng.choice(parts)]
        if victims != [RECEIVER] and rng.random() < POWER_CUTS:
            unit = victims[0].split()[0]
            victims = [f"{unit} capture", f"{unit} upload"]
        for victim in victims:
            fleet.kill(victim)
            killed[victim.split()[-1]] += 1
        for victim in victims:
            fleet.start(victim)
        if killed.total() % 100 < len(victims):
            accepted, stored = fleet.progress()
            say(f"{killed.total()} of {wanted} kills, {accepted} reads accepted, {stored} stored")
    return killed


def _await_work(fleet: Fleet, rng: random.Random) -> None:
    """Wait until a read was accepted and one was stored since the last kill, and then for a random moment."""
    accepted, stored = fleet.progress()
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        now_accepted, now_stored = fleet.progress()
        if now_accepted > accepted and now_stored > stored:
            break
        time.sleep(LOOK_EVERY_S)
    time.sleep(rng.expovariate(1 / MEAN_GAP_S))


def count_up(fleet: Fleet) -> tuple[str, bool]:
    """Compare what the units accepted with what the receiver holds, once everything has settled.

    Returns:
        The figures, and whether they are as they must be.
    """
    accepted, stored = fleet.accepted(), fleet.stored()
    opened, chains = fleet.opened(), fleet.chains()
    lost = len(accepted - set(stored))
    doubled = len(stored) - len(set(stored)) + len(opened) - len({item.read.frame_sequence for item in opened})
    set_aside = sum(unit.set_aside() for unit in fleet.units)
    broken = sum(not chain.is_continuous for chain in chains)
    figures = (
        f"{len(accepted)} reads accepted, {len(stored)} stored in {len(chains)} chains, "
        f"{lost} lost, {doubled} doubled, {set_aside} set aside, {broken} chains broken"
    )
    return figures, bool(accepted) and not (lost or doubled or set_aside or broken)
