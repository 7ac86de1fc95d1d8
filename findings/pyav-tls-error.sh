#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2 with GnuTLS): a server's certificate that is refused is `OSError 5, Input/output error`.
# Nothing in it speaks of TLS, and a wrong authority, an authority's file that is not there (it is no error by itself) and
# a port without TLS look the same. The reason is in FFmpeg's log, which PyAV does not read unless told to: after
# `av.logging.set_level(..)`, with any level, the error ends with it. Seen:
#   the right authority: 5 frames
#   another authority: OSError 5, nothing more; with a log level: Peer certificate failed verification
#   no such file: OSError 5, nothing more; with a log level: Peer certificate failed verification
#   a port without TLS: OSError 5, nothing more; with a log level: An unexpected TLS packet was received.
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 cryptography==46.0.3 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import datetime
import http.server
import ssl
import threading

import av
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write_certificate(path):
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with open(path, "wb") as file:
        file.write(key.private_bytes(*form) + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


def serve(context):
    server = Server(("127.0.0.1", 0), Quiet)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def asked(port, authority):
    options = {"tls_verify": "1", "ca_file": authority}
    try:
        with av.open(f"https://localhost:{port}/clip.mp4", options=options, timeout=60) as file:
            return sum(1 for _ in file.decode(video=0)), "frames"
    except OSError as error:
        assert error.errno == 5
        return 5, error.log[2].strip() if error.log else "nothing more"


with av.open("clip.mp4", "w") as out:
    stream = out.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    for _ in range(5):
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((240, 320, 3), np.uint8), format="bgr24")))
    out.mux(stream.encode())
write_certificate("server.pem")
write_certificate("another.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem")
secured, plain = serve(context), serve(None)
assert asked(secured, "server.pem") == (5, "frames")
print("the right authority: 5 frames")
refused, unexpected = "Peer certificate failed verification", "An unexpected TLS packet was received."
cases = {
    "another authority": (secured, "another.pem", refused),
    "no such file": (secured, "absent.pem", refused),
    "a port without TLS": (plain, "server.pem", unexpected),
}
silent = {name: asked(port, authority)[1] for name, (port, authority, _) in cases.items()}
av.logging.set_level(av.logging.PANIC)
for name, (port, authority, expected) in cases.items():
    said = asked(port, authority)[1]
    print(f"{name}: OSError 5, {silent[name]}; with a log level: {said}")
    assert (silent[name], said) == ("nothing more", expected)
END
