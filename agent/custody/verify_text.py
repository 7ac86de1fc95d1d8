"""The text of VERIFY.md: how to check an exported read with other people's tools.

Its commands and its Python are followed by a test, word for word, with openssl, `cbor2`, `cwt` and `cryptography`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from agent.wire.envelope import Envelope

_HEAD: Final = """\
# How to check this read

This folder holds one read of a number plate, and all it takes to check it without the program that made it. The steps
need `sha256sum` and `openssl`, and from step 4 on Python 3 with three libraries by other people:

```
pip install cbor2 cwt cryptography
```

Do the steps in this folder, in this order. Steps 4 to 7 are one Python session.

**What must come from elsewhere.** The files here cannot vouch for the key that signed them. Ask the agency for the
record of the camera's enrolment and compare its key with step 3. A copy of this folder that was made up as a whole
would pass every other step.

What is in it:

| file | what |
|---|---|
| `envelope.cose` | the read as the camera sealed and signed it (COSE_Sign1 around COSE_Encrypt, RFC 9052) |
| `read.json`, `crop.jpg` | what the agency says it contains |
| `content.key` | the key of this one read; it opens nothing else{committed} |
| `device.pub` | public key of the camera |
| `previous.cose`, `next.cose` | its neighbours in the camera's chain, still sealed; only their digests matter here |
| `receipt.cose`, `receipt.pub` | what the receiver signed when it stored it, and the key to check that |
"""

_MISSING: Final = "\nNot in this folder:\n\n{lines}\n"

_FILES: Final = """
## Step 1: the files are those of the export

```
sha256sum --check --strict SHA256SUMS
```

Every line must end in `OK`.

## Step 2: the envelope's id

```
openssl dgst -sha256 envelope.cose
```

The digest is the envelope's id. It must be the `envelope` of `read.json`, and the one in the agency's audit log:

`{envelope_id}`

## Step 3: the camera's key

```
openssl pkey -pubin -in device.pub -noout -text
```

It must be an ED25519 key, and the key that the agency enrolled for this camera.
"""

_SIGNATURE: Final = """
## Step 4: the camera signed the envelope

```python
import hashlib, io, json, pathlib
from datetime import datetime, timedelta, timezone
import cbor2
from cwt import COSE, COSEKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import load_pem_public_key

def read(name):
    return pathlib.Path(name).read_bytes()

def once(pairs):
    assert len(dict(pairs)) == len(pairs)                 # no name is there twice
    return dict(pairs)

def check_signature(name, pem_name):
    message = cbor2.loads(read(name))
    assert message.tag == 18                              # COSE_Sign1
    header = cbor2.loads(message.value[0])
    raw = load_pem_public_key(read(pem_name)).public_bytes_raw()
    thumbprint = hashlib.sha256(cbor2.dumps({1: 1, -1: 6, -2: raw}, canonical=True)).digest()
    assert header[4] == thumbprint                        # the key id is the key's thumbprint (RFC 9679)
    key = COSEKey.from_pem(read(pem_name), kid=thumbprint)
    return header, COSE.new().decode(read(name), key)     # raises if the signature is wrong

listed = {line.split("  ")[1] for line in read("SHA256SUMS").decode().splitlines()}
assert listed == {path.name for path in pathlib.Path().iterdir()} - {"SHA256SUMS", "signed.bin", "signature.bin"}
header, payload = check_signature("envelope.cose", "device.pub")
told = json.loads(read("read.json"), object_pairs_hook=once)
assert header[3] == "application/plateseal+cbor"
assert header["ps"]["chain"].hex() == told["chain"] and header["ps"]["seq"] == told["seq"]
assert header[4].hex() == told["device_key"]
print("the camera signed the envelope, number", header["ps"]["seq"], "of its chain")
```

The same without a COSE library: this writes what was signed, and the signature, and openssl checks it.

```python
signed = cbor2.loads(read("envelope.cose")).value
pathlib.Path("signed.bin").write_bytes(cbor2.dumps(["Signature1", signed[0], b"", signed[2]], canonical=True))
pathlib.Path("signature.bin").write_bytes(signed[3])
```

```
openssl pkeyutl -verify -pubin -inkey device.pub -rawin -in signed.bin -sigfile signature.bin
```

## Step 5: the envelope contains this read

```python
protected, unprotected, ciphertext, recipients = cbor2.loads(payload).value
algorithm = {3: AESGCM, 24: ChaCha20Poly1305}[cbor2.loads(protected)[1]]
bound_to = cbor2.loads(read("envelope.cose")).value[0]    # the ciphertext opens in this envelope only
context = cbor2.dumps(["Encrypt", protected, bound_to], canonical=True)
key = bytes.fromhex(read("content.key").decode().strip())
opened = io.BytesIO(algorithm(key).decrypt(unprotected[5], ciphertext, context))
plaintext = cbor2.CBORDecoder(opened).decode()
assert not opened.read().strip(b"\\0")                     # behind the read there are only zeros, to hide its length
picture = pathlib.Path("crop.jpg")
assert (picture.read_bytes() if picture.exists() else b"") == plaintext["crop"]

def moment(milliseconds):
    at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

assert told == {                                          # read.json says what was sealed, and nothing else
    "envelope": hashlib.sha256(read("envelope.cose")).hexdigest(),
    "device_key": header[4].hex(),
    "chain": header["ps"]["chain"].hex(),
    "seq": header["ps"]["seq"],
    **{name: plaintext[name] for name in "camera clock text votes box frame frame_wh direction".split()},
    **{name: plaintext.get(name) for name in "site region lane".split()},
    **{name: plaintext.get(name) for name in "seen format".split() if "seen" in plaintext},
    **{name: moment(plaintext[name]) for name in "captured_at first_seen last_seen".split()},
    "position": [part / 1_000_000 for part in plaintext["position"]] if "position" in plaintext else None,
    "confidences": [share / 1000 for share in plaintext["confidences"]],
    "detector_confidence": plaintext["detector"] / 1000,
    "detector_sha256": plaintext["models"]["detector"].hex(),
    "reader_sha256": plaintext["models"]["reader"].hex(),
    "crop_bytes": len(plaintext["crop"]),
    "agent_version": plaintext["agent"],
}
print("the camera read", plaintext["text"], "at", told["captured_at"])
if plaintext.get("seen", plaintext["text"]) != plaintext["text"]:
    print("in its pictures it saw", plaintext["seen"], "which the format", plaintext["format"], "does not have")
```

`seen`, where it is there, is what the camera saw in its pictures. Where `text` is another one, characters that look
alike (O and 0, I and 1, B and 8, Z and 2, S and 5, G and 6) were exchanged, because no number plate of the countries
that the camera was set up for has the text that was seen. `confidences` are those of the characters in `seen`.
"""

_COMMITMENT: Final = """
The camera signed a digest of the key as well. So this is the key that the read was sealed with, for whoever it was
sealed to: nobody was given another one that opens another text.

```python
assert hashlib.sha256(cbor2.dumps(["plateseal content key 2", key], canonical=True)).digest() == header["ps"]["com"]
print("content.key is the one key that the camera committed to")
```
"""

_CHAIN: Final = """
## Step 6: its place in the camera's chain

Each message names the SHA-256 of the one before it. So between two neighbours nothing was put in or taken out later.

```python
mine = hashlib.sha256(read("envelope.cose")).digest()

def names(place):                                         # the digest of the message before it
    return place.get("last") if place["v"] == 1 and place["seq"] == 0 else place["prev"]

"""

_PREVIOUS: Final = """\
before, _ = check_signature("previous.cose", "device.pub")
assert hashlib.sha256(read("previous.cose")).digest() == names(header["ps"])
print("the message before it is linked")
"""

_NEXT: Final = """\
after, _ = check_signature("next.cose", "device.pub")
assert names(after["ps"]) == mine
same_chain = after["ps"]["chain"] == header["ps"]["chain"]
assert after["ps"]["seq"] == (header["ps"]["seq"] + 1 if same_chain else 0)
print("the message after it is linked")
"""

_RECEIPT: Final = """
## Step 7: the receiver stored it

```python
_, stored = check_signature("receipt.cose", "receipt.pub")
receipt = cbor2.loads(stored)
assert receipt["id"] == mine and receipt["len"] == len(read("envelope.cose"))
assert receipt["chain"] == header["ps"]["chain"] and receipt["seq"] == header["ps"]["seq"]
assert receipt["dev"] == header[4] and receipt["v"] == header["ps"]["v"]
print("the receiver stored it, entry", receipt["log"], "of its log, at", receipt["at"], "ms since 1970")
```

The receipt is the one that the receiver signed when it stored the envelope, byte for byte: its time is a time of
the receiver's clock, and nobody signed it for this folder.
"""

_LIMITS: Final = """
## What these steps do not show

- That the camera read the plate rightly. `read.json` has its confidence in every character, and how many looks agreed;
  `crop.jpg` is the picture. Look at it, above all where `text` and `seen` differ.
- That the camera's clock was right. `clock` in `read.json` says what the time rests on.
- That nobody had the camera's signing key. It is made on the camera and stays there.
"""


def verify_text(envelope: Envelope, *, files: Collection[str], missing: Sequence[str]) -> str:
    """Return VERIFY.md for an export.

    Args:
        envelope: The exported envelope.
        files: Names of the files that are there.
        missing: What is not, one line each.
    """
    chain = "".join(
        (
            _CHAIN,
            _PREVIOUS if "previous.cose" in files else "",
            _NEXT if "next.cose" in files else "",
            "```\n",
        )
    )
    return "".join(
        (
            _HEAD.format(committed="" if envelope.header.commitment is None else ", and the camera committed to it"),
            _MISSING.format(lines="\n".join(f"- {line}" for line in missing)) if missing else "",
            _FILES.format(envelope_id=envelope.envelope_id),
            _SIGNATURE,
            "" if envelope.header.commitment is None else _COMMITMENT,
            chain,
            _RECEIPT if "receipt.cose" in files else "",
            _LIMITS,
        )
    )
