"""Work that Ctrl-C ends between two steps, so that what was done so far is told."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self


class UntilCtrlC:
    """Within it the first Ctrl-C asks the work to end; a second one ends the program as always. Main thread only."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self._asked = False
        self._before = signal.getsignal(signal.SIGINT)

    def may_go_on(self) -> bool:
        """Whether nobody has asked for the end."""
        return not self._asked

    def __enter__(self) -> Self:
        """Take Ctrl-C."""
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back."""
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
