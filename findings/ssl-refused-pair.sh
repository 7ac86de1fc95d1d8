#!/usr/bin/env bash
# CPython 3.11.7 with OpenSSL 3.0.22: `SSLContext.load_cert_chain` that is refused has changed the context all the same. A
# server whose certificate is renewed on the disk may find the new certificate there before the new key. The call raises, as it
# should; one would expect the context to go on with the pair before. It has the new certificate and no key, and refuses every
# client from then on, with words about ciphers. Seen:
#   before: shows one
#   the pair of two.pem and one.key: SSLError KEY_VALUES_MISMATCH
#   after: SSLError NO_SHARED_CIPHER
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check cryptography==46.0.3
cd "$scratch"
venv/bin/python - <<'END'
import contextlib
import datetime
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

now = datetime.datetime.now(datetime.timezone.utc)
form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
for word in ("one", "two"):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, word)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with open(f"{word}.pem", "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(f"{word}.key", "wb") as file:
        file.write(key.private_bytes(*form))

client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.load_verify_locations("one.pem")
client.load_verify_locations("two.pem")


def shown(server):
    """Return which certificate a server shows, or why there is no connection."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (here, there) * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLError as error:
        return f"SSLError {error.reason}"
    return f"shows {here.getpeercert()['subject'][0][0][1]}"


server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("one.pem", "one.key")
before = shown(server)
try:
    server.load_cert_chain("two.pem", "one.key")
    refusal = "taken"
except ssl.SSLError as error:
    refusal = f"SSLError {error.reason}"
after = shown(server)
print(f"before: {before}")
print(f"the pair of two.pem and one.key: {refusal}")
print(f"after: {after}")
assert (before, refusal, after) == ("shows one", "SSLError KEY_VALUES_MISMATCH", "SSLError NO_SHARED_CIPHER")
END
