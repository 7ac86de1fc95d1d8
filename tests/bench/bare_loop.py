"""A camera's video decoded by PyAV as the product sets it up, and nothing else: what `live-cost` compares with.

    python -m tests.bench.bare_loop URL

Writes a line each 25 frames: frames so far, and the process's processor time, seconds.
"""

from __future__ import annotations

import sys
import time

import av

from agent.capture.rtsp import OPEN_TIMEOUT_S, OPTIONS, PROTOCOLS


def main(url: str) -> None:
    """Decode until the stream ends."""
    options, frames = {**OPTIONS, "protocol_whitelist": PROTOCOLS}, 0
    with av.open(url, container_options=options, timeout=(OPEN_TIMEOUT_S, OPEN_TIMEOUT_S)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count, context.thread_type = 1, "SLICE"
        for packet in container.demux():
            if packet.stream_index == stream.index:
                frames += len(context.decode(packet))
            if frames % 25 == 0:
                sys.stdout.write(f"{frames} {time.process_time()}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
