"""A read of a network camera that blocks ends when its thread is to end."""

from __future__ import annotations

import socket
import threading
from itertools import pairwise

import av
from av.error import FFmpegError

from agent.capture.interrupting import _clock, end_reads_with

LIMIT_S = 3600.0
"""The read's own time limit."""
WITHIN_S = 60.0


def test_a_read_that_blocks_ends_with_its_thread() -> None:
    """The other one, which is to go on, does not."""
    ended, others = threading.Event(), threading.Event()
    raised = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/"

        def read(told: threading.Event) -> None:
            end_reads_with(told)
            try:
                av.open(url, timeout=(LIMIT_S, LIMIT_S))
            except (FFmpegError, OSError) as error:
                raised.append(type(error).__name__)

        threads = [threading.Thread(target=read, args=(told,), daemon=True) for told in (ended, others)]
        answered = []
        for thread in threads:
            thread.start()
            answered.append(silent.accept()[0])
        ended.set()
        threads[0].join(WITHIN_S)
        alive = [thread.is_alive() for thread in threads]
        others.set()
        threads[1].join(WITHIN_S)
        for each in answered:
            each.close()
    assert alive == [False, True]
    assert len(raised) == 2


def test_each_look_of_a_thread_that_is_to_end_is_beyond_any_limit() -> None:
    """A read that begins after the event was set ends too."""
    ended = threading.Event()
    seen: list[float] = []

    def look() -> None:
        end_reads_with(ended)
        seen.append(_clock.monotonic())
        ended.set()
        seen.extend(_clock.monotonic() for _ in range(2))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(WITHIN_S)
    assert [later - earlier > LIMIT_S for earlier, later in pairwise(seen)] == [True, True]
    assert _clock.monotonic() < seen[1]
