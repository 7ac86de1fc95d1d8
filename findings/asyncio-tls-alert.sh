#!/usr/bin/env bash
# CPython 3.11.7 with OpenSSL 3.0, asyncio: a TLS server that refuses a client's certificate does not send the alert.
# OpenSSL has made it ("certificate required", "certificate expired", "unknown CA"), and a blocking socket sends it; asyncio
# closes the connection with the alert still in its buffer. In TLS 1.3 the client has ended its handshake by then, so all that
# it sees is a connection that ends: nobody at the client can tell an expired certificate from a dead line. Seen:
#   blocking server: SSLError TLSV13_ALERT_CERTIFICATE_REQUIRED
#   asyncio server: the connection ended without a word
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check cryptography==46.0.3
cd "$scratch"
venv/bin/python - <<'END'
import asyncio
import contextlib
import datetime
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test of a finding")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(1)
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    .sign(key, hashes.SHA256())
)
form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
with open("server.pem", "wb") as file:
    file.write(key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM))

server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("server.pem")
server.load_verify_locations("server.pem")
server.verify_mode = ssl.CERT_REQUIRED
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.minimum_version = ssl.TLSVersion.TLSv1_3
client.load_verify_locations("server.pem")


def ask(port):
    """Connect without a certificate, send nothing, and return what the server says."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with client.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.settimeout(10)
            try:
                return "the connection ended without a word" if connection.recv(1) == b"" else "it went on"
            except ssl.SSLError as error:
                return f"SSLError {error.reason}"
            except ConnectionResetError:
                return "the connection ended without a word"


def blocking(listener):
    plain, _ = listener.accept()
    with plain, contextlib.suppress(ssl.SSLError):
        server.wrap_socket(plain, server_side=True)


with socket.create_server(("127.0.0.1", 0)) as listener:
    thread = threading.Thread(target=blocking, args=(listener,))
    thread.start()
    by_blocking = ask(listener.getsockname()[1])
    thread.join()


async def by_asyncio():
    serving = await asyncio.start_server(lambda _r, writer: writer.close(), "127.0.0.1", 0, ssl=server)
    async with serving:
        return await asyncio.to_thread(ask, serving.sockets[0].getsockname()[1])


by_loop = asyncio.run(by_asyncio())
print(f"blocking server: {by_blocking}")
print(f"asyncio server: {by_loop}")
assert by_blocking == "SSLError TLSV13_ALERT_CERTIFICATE_REQUIRED"
assert by_loop == "the connection ended without a word"
END
