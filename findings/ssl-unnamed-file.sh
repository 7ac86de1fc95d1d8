#!/usr/bin/env bash
# CPython 3.11.7: where a file of a TLS context is missing, `ssl` raises FileNotFoundError without the file's name, as `open` never
# does. Of a certificate and a key one cannot tell which is missing, and a log line that shows the error names nothing. Seen:
#   open: No such file or directory, filename 'missing.pem'
#   load_cert_chain: No such file or directory, filename None
#   load_verify_locations: No such file or directory, filename None
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 - <<'END'
import ssl


def seen(act, *arguments):
    """Return what an act says of a file that is not there."""
    try:
        act(*arguments)
    except FileNotFoundError as error:
        return f"{error.strerror}, filename {error.filename!r}"
    return "no error"


context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
found = [seen(act, "missing.pem") for act in (open, context.load_cert_chain, context.load_verify_locations)]
for name, said in zip(("open", "load_cert_chain", "load_verify_locations"), found):
    print(f"{name}: {said}")
assert found[0].endswith("filename 'missing.pem'")
assert found[1] == found[2] == "No such file or directory, filename None"
END
