"""What a planted fault is, and how it is judged: the command names its cause, and the mend that it gives mends it.

A mend is a list of acts. Each act needs its words in what the command said, so a message that stops giving the mend
fails; a command is taken out of the message and run as it stands there, with the words in capitals filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.fakes.waiting import wait_until
from tests.faults.planted.site import Said, Site, command_in, execute

Act = Callable[[Site, str], str]
"""Does a step of a mend. Takes what was said so far, returns what is said further; asserts that it can be done."""

SOON_S: Final = 60.0
LOOK_EVERY_S: Final = 0.5
RAN, DONE = "$ ", "# "
"""Before a command that was run, and before the words of the message that were followed by hand."""
_LOGGED: Final = ("INFO ", "WARNING ", "ERROR ")
_LINES: Final = ("plateseal: ", "beware: ", *_LOGGED)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, planted on a whole site.

    Attributes:
        name: What is wrong, for a person.
        command: The command that must name it, with the site's places as `{config}`.
        plant: Spoils the site.
        words: What must stand in the finding or line that names it.
        mend: The acts that the message asks for.
        check: Of the doctor: the finding that must name it. Empty for other commands.
        is_warning: The doctor warns and ends with 0: the unit works.
        is_process: The command runs as a process of its own.
        takes_a_moment: A process takes the mend up by itself, soon.
        needs: Of `tests/needs.py`.
    """

    name: str
    command: str
    plant: Callable[[Site], object]
    words: Sequence[str]
    mend: Sequence[Act]
    check: str = ""
    is_warning: bool = False
    is_process: bool = False
    takes_a_moment: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one fault.

    Attributes:
        said: What the command said of it.
        mend: The commands and acts of the mend.
        trouble: Why it was not named, or not mended; empty where both hold.
    """

    said: str
    mend: str
    trouble: str = ""


def run(fault: Fault, site: Site) -> Said:
    """Run the fault's command."""
    return site.process(fault.command) if fault.is_process else site.run(fault.command)


def judge(fault: Fault, site: Site, whole: Said) -> Verdict:
    """Plant a fault, see it named, mend it, and see the command in order again.

    Args:
        fault: Which.
        site: A copy of a whole site, which is spoiled.
        whole: How the command ended before.
    """
    fault.plant(site)
    said = run(fault, site)
    told = _told(fault, said)
    trouble = _why_not_named(fault, said, told, whole)
    if trouble:
        return Verdict(told, "", trouble)
    advice = f"{said.mends.get(fault.check, '')}\n{told}"
    try:
        for act in fault.mend:
            advice += "\n" + act(site, advice)
    except AssertionError as error:
        return Verdict(told, advice, f"the mend cannot be done: {error}")
    found = [run(fault, site)]

    def is_mended() -> bool:
        found.append(run(fault, site))
        return _is_like(found[-1], whole)

    if fault.takes_a_moment:
        with suppress(AssertionError):  # told below
            wait_until(is_mended, within_s=SOON_S, every_s=LOOK_EVERY_S)
    if not _is_like(found[-1], whole):
        left = "; ".join(f"{check}: {what}" for check, (_, what) in found[-1].findings.items())
        return Verdict(told, advice, f"not mended, exit {found[-1].code}: {left or found[-1].err}")
    done = [line for line in advice.splitlines() if line.startswith((RAN, DONE))]
    return Verdict(_short(told, site), _short("\n".join(done), site))


def _short(text: str, site: Site) -> str:
    """Return a text without the place of the site."""
    return text.replace(str(site.running), "RUNNING").replace(str(site.root), "SITE").strip()


def _is_like(after: Said, whole: Said) -> bool:
    """Whether a command ends as it did on the whole site: the doctor with the findings of this machine alone."""
    return (after.code, sorted(after.findings)) == (whole.code, sorted(whole.findings))


def _told(fault: Fault, said: Said) -> str:
    """Return what was said of the fault: the finding of its check, or the lines that are no log."""
    if fault.check:
        return said.findings.get(fault.check, ("", "nothing"))[1]
    lines = [line for line in said.err.splitlines() if not line.startswith(_LOGGED)]
    return "\n".join([*lines, said.out]).strip()


def _why_not_named(fault: Fault, said: Said, told: str, whole: Said) -> str:
    if "Traceback" in said.err:
        return f"a traceback: {said.err[-500:]}"
    if not fault.is_warning and said.code in (0, 1):
        return f"exit {said.code}: {told}"
    if fault.is_warning and said.code != whole.code:
        return f"exit {said.code}, a warning is none: {said.err}"
    missing = [words for words in fault.words if words not in told]
    if missing:
        others = "; ".join(f"{check}: {what}" for check, (_, what) in said.findings.items() if check != fault.check)
        return f"{missing} is not said, but: {told} [{others}]"
    if not fault.check and not all(line.startswith(_LINES) for line in said.err.splitlines()):
        return f"more than lines for a person: {said.err}"
    return ""


def printed(start: str, fill: Mapping[str, str] | None = None, *, code: int = 0) -> Act:
    """Run the command of the message that begins with these words.

    Args:
        start: Its first words.
        fill: What a person writes for a word of it, such as `DIR`; of several words, or a place as `{receiver}`.
        code: How it must end; not 0 where it refuses, and says what to do instead.
    """

    def act(site: Site, text: str) -> str:
        filled = [new for word in command_in(text, start) for new in site.words((fill or {}).get(word, repr(word)))]
        said = execute(filled, cwd=site.root)
        assert said.code == code, f"{' '.join(filled)}: exit {said.code}: {said.err}"
        return f"{RAN}{' '.join(filled)}\n{said.out}\n{said.err}"

    return act


def by_hand(says: str, do: Callable[[Site], object]) -> Act:
    """Do what the message asks for in words."""

    def act(site: Site, text: str) -> str:
        assert says in text, f"{says!r} is not in: {text}"
        do(site)
        return f"{DONE}{says}"

    return act
