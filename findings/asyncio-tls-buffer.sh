#!/usr/bin/env bash
# CPython 3.11.7's asyncio: each TLS connection holds a buffer of 256 KiB from its first moment to its last.
# A TLS record carries 16 KiB, and a plain connection of asyncio holds no buffer at all, so one would expect an idle TLS
# connection to cost what OpenSSL keeps, some ten KiB. asyncio's TLS layer makes one bytearray of 262,144 bytes for each
# connection when it is made and fills it anew at each read; `limit` of a stream and the limits of a transport's writing
# do not touch it, and no argument does. 3,000 clients that are connected and say nothing are 750 MB. A class attribute
# without documentation sets it for all connections made from then on. Seen:
#   a connection, plain: 0 KiB in asyncio's TLS layer
#   a connection, TLS: 259 KiB in asyncio's TLS layer
#   a connection, TLS, with limit=4096: 259 KiB in asyncio's TLS layer
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
openssl req -x509 -newkey ed25519 -nodes -keyout key.pem -out certificate.pem -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
python3 - <<'END'
import asyncio
import ssl
import tracemalloc

CONNECTIONS = 20
server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_side.load_cert_chain("certificate.pem", "key.pem")
client_side = ssl.create_default_context(cafile="certificate.pem")


async def kib_a_connection(**options):
    """Connect and say nothing; count one end of each connection."""
    secret = options.pop("secret")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server_side if secret else None)
    port = server.sockets[0].getsockname()[1]
    more = {"ssl": client_side, "server_hostname": "localhost"} if secret else {}
    lines = [await asyncio.open_connection("127.0.0.1", port, **more, **options) for _ in range(CONNECTIONS)]
    only = [tracemalloc.Filter(True, "*/asyncio/sslproto.py")]
    found = sum(each.size for each in tracemalloc.take_snapshot().filter_traces(only).statistics("filename"))
    for _, writer in lines:
        writer.transport.abort()
    server.close()
    return round(found / (2 * CONNECTIONS) / 1024)


for name, options in {
    "plain": {"secret": False},
    "TLS": {"secret": True},
    "TLS, with limit=4096": {"secret": True, "limit": 4096},
}.items():
    tracemalloc.start()
    kib = asyncio.run(kib_a_connection(**options))
    tracemalloc.stop()
    print(f"a connection, {name}: {kib} KiB in asyncio's TLS layer")
    assert (kib >= 256) is options["secret"]
END
