"""What a connection that only stays costs at the receiver's door."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from pathlib import Path

from agent.receiver.intake.counts import Counts
from agent.receiver.intake.door import Door
from agent.receiver.intake.server_tls import ServerTls
from tests.fakes.pki import make_bench

CONNECTIONS = 8
MOST_BYTES = 64 << 10
"""A connection, in asyncio's TLS layer; with asyncio's own buffer it would be 256 KiB."""


def test_a_connection_has_a_small_buffer(tmp_path: Path) -> None:
    """The buffer is set in a class that asyncio does not promise: where that has no effect any more, this says so."""
    bench = make_bench(tmp_path)
    context = ServerTls(bench.receiver).context
    trusted = bench.client_context()

    async def bytes_in_tls(listener: socket.socket) -> int:
        door = asyncio.create_task(Door(context, Counts()).stand(listener, asyncio.Protocol))
        port = listener.getsockname()[1]
        lines = [
            await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname="localhost")
            for _ in range(CONNECTIONS)
        ]
        counted = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(inclusive=True, filename_pattern="*/asyncio/sslproto.py")]
        )
        for _, writer in lines:
            writer.transport.abort()
        door.cancel()
        return sum(statistic.size for statistic in counted.statistics("filename"))

    tracemalloc.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            used = asyncio.run(bytes_in_tls(listener))
    finally:
        tracemalloc.stop()
    both_ends = 2 * CONNECTIONS
    assert CONNECTIONS * (16 << 10) < used < both_ends * MOST_BYTES
