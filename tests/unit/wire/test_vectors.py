"""The test vectors of the format: the product judges each as it must, and so does a reader without its code."""

from __future__ import annotations

import ast
import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import errors
from agent.wire import cbor, cose, suites
from agent.wire.content_key import commit
from agent.wire.envelope import content_aad, parse_envelope, recipient_info, sealed_content
from tests.vectors import keys, make, product

FOLDER = Path(make.__file__).parent
READER = FOLDER / "reader.py"
READERS = (READER, FOLDER / "others.py")
INDEPENDENT = (*READERS, FOLDER / "layouts.py", FOLDER / "primitives.py")
FILES = sorted(
    path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json") if "js" not in path.relative_to(FOLDER).parts
)
MESSAGES = sorted({file.split("/")[0] for file in FILES})
STEPPED = ("probe", "probe-answer", "renewal", "audit-head", "enrolment", "device-record", "bundle", "export")
STEPS = [
    file
    for file in FILES
    if file.startswith("envelope/2-right-")
    or (file.split("/")[0] in STEPPED and "right" in file and not file.startswith("device-record/right"))
]
"""Vectors that have what their writer has on the way."""
MAX_READER_LINES = 200
MIN_VECTORS = 80
README = (FOLDER / "README.md").read_text()

SAYS = {
    "size": r"at most|longer than",
    "encoding": r"CBOR|not a PEM certificate|not a JSON document|is there twice|minisign signature|not TOML",
    "value": r"expected|allowed|needed|none of|outside|does not fit|stand for|not a COSE_|is zero at|answers for|"
    r"no envelope|more than|[Ii]nput should be|should have|must be|must have|must match|device name|has \d+ bytes|"
    r"not a JSON object|an event \w+ has|belong together|\[signed\]",
    "field": r"missing|unknown|must be empty|an event \w+ has|belong together|\[signed\]",
    "version": r"version|'v' is missing",
    "algorithm": r"algorithm|not an Ed25519 key|expected an integer|of the old kind",
    "content-type": r"content type",
    "order": r"order|sorted|ends before it begins|begins before the one before it ends",
    "key": r"no public key|small order|another key's|private_value|Invalid EC key",
    "key-id": r"thumbprint|holds another key than its id says",
    "signer": r"signed by (unknown receiver |receipt )?key|is not enrolled|cannot be checked without",
    "signature": r"the signature by key \w+ is wrong|wrong signature|signature of this record is wrong",
    "proof": r"'proof'|not signed by its own key",
    "request": r"'csr'",
    "mismatch": r"names another|signed by a key of|is that of|no such certificate|to another probe|for another key|"
    r"or another's|this unit is",
    "ended": r"was revoked|has been followed by|in use no more",
    "same-key": r"the new key is the old one",
    "rollback": r"serial \d+ (is older|was another)|ends no later|is not above",
    "recipient": r"none of these private keys",
    "sealed-key": r"does not open",
    "commitment": r"commits to",
    "ciphertext": r"not what was sealed",
    "passphrase": r"passphrase",
    "use": r"another key than its name says",
    "cost": r"scrypt",
    "chain": r"entry|entries|missing or empty",
}
"""What the product's message has in it, by the cause: it refuses for the reason that the vector was made for."""


def load(file: str) -> Any:
    """Return a file's content."""
    return json.loads((FOLDER / file).read_text())


def documented_causes() -> set[str]:
    """Return the first column of README.md's table of causes."""
    table = README.partition("| cause |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))


def run_reader(folder: Path, reader: Path = READER) -> subprocess.CompletedProcess[str]:
    """Run the reader as a person would."""
    command = [sys.executable, str(reader), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_files_are_what_the_generator_writes() -> None:
    """Making them again changes nothing, and leaves no file over."""
    made = make.vectors()
    assert sorted(made) == FILES
    assert len(FILES) >= MIN_VECTORS
    assert f"{len(FILES)} vectors, {len(FILES)} as expected" in README
    assert [file for file in FILES if (FOLDER / file).read_text() != made[file].text()] == []


@pytest.mark.parametrize("message", [message for message in MESSAGES if message != "export"])
def test_the_product_judges_as_the_files_expect(message: str, tmp_path: Path) -> None:
    """Outcome and error class, with the decoded values of what is right and the reason for what is not.

    An export is judged in `tests/unit/custody/test_export_vectors.py`.
    """
    files = [file for file in FILES if file.startswith(f"{message}/")]
    assert files
    assert [fault for file in files if (fault := misjudged(file, tmp_path / Path(file).stem))] == []


def misjudged(file: str, folder: Path) -> str:
    """Return what the product does with a vector where that is not what is expected."""
    vector = load(file)
    expected = vector["expect"]
    cause = expected.pop("cause", None)
    folder.mkdir()
    found, says = product.judge(vector["message"], product.data_of(vector), vector["context"], folder)
    if found != expected:
        return f"{file}: {found}, expected {expected}"
    names_places = vector["message"] == "audit-log"  # and not reasons
    if cause is None or names_places or re.search(SAYS[cause], says):
        return ""
    return f"{file}: refused, and not for {cause}: {says}"


def test_the_reader_judges_all_as_expected() -> None:
    """Without any code of the product."""
    run = run_reader(FOLDER)
    assert (run.stdout, run.stderr) == (f"{len(FILES)} vectors, {len(FILES)} as expected\n", "")
    assert run.returncode == 0


def test_the_reader_names_what_is_not_as_expected(tmp_path: Path) -> None:
    """Other expectations in a copy: of a right vector's values, a wrong one's outcome, class and cause."""
    changes: dict[str, dict[str, str]] = {
        "receipt/right.json": {"outcome": "refused", "error": "FormatError", "cause": "value"},
        "receipt/replayed.json": {"outcome": "accepted"},
        "keyring/rollback.json": {"error": "FormatError"},
        "envelope/truncated.json": {"cause": "value"},
        "reply/right-later.json": {"values": "60"},
    }
    copy = tmp_path / "vectors"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__", "js"))
    for file, change in changes.items():
        vector = load(file)
        vector["expect"] |= change
        (copy / file).write_text(json.dumps(vector))
    run = run_reader(copy)
    assert run.returncode == 1
    *named, summary = run.stdout.splitlines()
    assert sorted(line.split(": ")[0] for line in named) == sorted(changes)
    assert summary == f"{len(FILES)} vectors, {len(FILES) - len(changes)} as expected"


def test_a_folder_without_vectors_is_no_success(tmp_path: Path) -> None:
    """A wrong path must not look like everything is right."""
    assert run_reader(tmp_path).returncode == 1


LAX: dict[str, Callable[[str], str]] = {
    "accepts everything": lambda text: text.replace(
        "    if not holds:\n        raise Refused(cause)", "    del holds, cause"
    ),
    "refuses everything": lambda text: text.replace("    if not holds:\n", "    if holds or not holds:\n"),
    "takes any signature": lambda text: text.replace(".verify(signature, message)", ""),
    "takes any encoding": lambda text: text.replace("check(encode(value) == data[start:at]", "check(True"),
    "takes unknown fields": lambda text: text.replace(" <= kinds.keys()", ""),
    "takes more than one value": lambda text: text.replace("check(len(found) == 1", "check(found"),
    "takes a name twice": lambda text: text.replace(
        "if len({name for name, _ in pairs}) != len(pairs)", "if not pairs"
    ),
    "takes any form of a time": lambda text: text.replace('.isoformat(timespec="seconds") == text', ""),
    "takes unused bits": lambda text: text.replace(" and base64.b64encode(raw).decode() == text", ""),
    "takes every character": lambda text: text.replace('[0] not in "CZ"', ""),
    "takes requests that are not signed": lambda text: text.replace('check(signed, "proof")', ""),
    "takes keys that have ended": lambda text: text.replace('check("ended" not in unit', 'check("name" in unit'),
    "takes any serial": lambda text: text.replace('says["serial"] > context["newest"]', "says"),
    "takes any list of digests": lambda text: text.replace("in sums} == {name", "in sums} or {name"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.needs("campaigns")] if place % 4 else []) for place, name in enumerate(LAX)],
)
def test_a_lax_reader_does_not_pass(name: str, tmp_path: Path) -> None:
    """The set tells readers apart: one that leaves out a check, or makes too many, gets some vectors wrong."""
    changed = 0
    for path in INDEPENDENT:
        lax = LAX[name](path.read_text())
        changed += lax != path.read_text()
        (tmp_path / path.name).write_text(lax)
    assert changed
    assert run_reader(FOLDER, tmp_path / "reader.py").returncode == 1


def test_the_reader_is_short_and_independent() -> None:
    """Each half at most so many lines; both and what they rest on import `cryptography` and the standard library."""
    assert max(len(path.read_text().splitlines()) for path in READERS) <= MAX_READER_LINES
    allowed = set(sys.stdlib_module_names) | {"cryptography", "layouts", "others", "primitives"}
    for path in INDEPENDENT:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        whence = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        assert plain + whence
        assert {name.split(".")[0] for name in plain + whence} - allowed == set()
        assert "importlib" not in plain + whence


def test_every_message_and_suite_has_right_and_wrong_vectors() -> None:
    """One right vector at least for each message, suite and cipher, and a wrong one for each documented cause."""
    vectors = [load(file) for file in FILES]
    outcomes = Counter((vector["message"], vector["expect"]["outcome"]) for vector in vectors)
    assert sorted({message for message, _ in outcomes}) == MESSAGES
    assert [message for message in MESSAGES if not outcomes[message, "accepted"]] == []
    assert [message for message in MESSAGES if not outcomes[message, "refused"]] == []
    rights = itertools.product(("", "2-"), suites.KeyType, ("a256gcm", "chacha20"))
    assert {f"envelope/{version}right-{key}-{cipher}.json" for version, key, cipher in rights} <= {*FILES}
    refused = [vector["expect"] for vector in vectors if vector["expect"]["outcome"] == "refused"]
    assert {expect["cause"] for expect in refused} == documented_causes()
    assert {expect["error"] for expect in refused} <= set(vars(errors))


def test_every_file_is_self_contained_and_says_why() -> None:
    """The fields that README.md lists, and one sentence."""
    assert FILES
    for file in FILES:
        vector = load(file)
        steps = ["steps"] if file in STEPS else []
        data = "files" if vector["message"] == "export" else "data"
        assert list(vector) == ["vector", "format", "message", "why", "expect", "context", data, *steps]
        assert (vector["vector"], vector["format"]) == (1, 2 if "/2-" in file else 1)
        assert vector["why"].endswith(".")


@pytest.mark.parametrize("file", [file for file in STEPS if file.startswith("envelope/")])
def test_the_steps_lead_to_the_envelope(file: str) -> None:
    """A writer who has each value in between gets the bytes of the message, by the product's own functions."""
    vector = load(file)
    steps: Any = {name: _bytes_of(value) for name, value in vector["steps"].items()}
    data = product.joined(vector["data"])
    envelope = parse_envelope(data)
    content, outer = sealed_content(envelope)
    assert steps["commitment"] == commit(steps["content_key"]) == envelope.header.commitment
    assert (steps["protected"], steps["nonce"], steps["ciphertext"]) == (outer, content.nonce, content.ciphertext)
    assert steps["enc_structure"] == content_aad(content.protected_bytes, outer)
    assert steps["recipient_structures"] == [
        recipient_info(content.alg, slot.protected_bytes) for slot in content.recipients
    ]
    aead = suites.content_aead(content.alg, steps["content_key"])
    assert aead.encrypt(steps["nonce"], steps["plaintext"], steps["enc_structure"]) == steps["ciphertext"]
    assert steps["plaintext"].rstrip(b"\0") == steps["read"].rstrip(b"\0")
    keys.DEVICE.key.public_key().verify(data[-cose.SIGNATURE_BYTES :], steps["sig_structure"])


def _bytes_of(value: str | list[str]) -> bytes | list[bytes]:
    return [bytes.fromhex(digits) for digits in value] if isinstance(value, list) else bytes.fromhex(value)


SIGNERS = {
    "probe": keys.DEVICE,
    "probe-answer": keys.RECEIVER,
    "renewal": keys.DEVICE,
    "audit-head": keys.OWNER,
}
"""Messages that are a COSE_Sign1, by who signs them."""


@pytest.mark.parametrize("file", [file for file in STEPS if file.split("/")[0] in SIGNERS])
def test_the_steps_lead_to_the_signed_message(file: str) -> None:
    """The structure that is signed has header and payload in it, and the signature at the end is over it."""
    vector = load(file)
    steps, data = vector["steps"], product.joined(vector["data"])
    protected, payload, structure = (bytes.fromhex(steps[name]) for name in ("protected", "payload", "sig_structure"))
    assert structure == cbor.encode(["Signature1", protected, b"", payload])
    assert cbor.encode(protected) in data
    assert cbor.encode(payload) in data
    SIGNERS[vector["message"]].key.public_key().verify(data[-cose.SIGNATURE_BYTES :], structure)


@pytest.mark.parametrize("file", [file for file in STEPS if file.split("/")[0] in ("enrolment", "device-record")])
def test_the_steps_are_what_a_json_message_signs(file: str) -> None:
    """Proof or signature, as it stands in the message, is over these bytes."""
    vector = load(file)
    value = json.loads(product.joined(vector["data"]))
    is_record = vector["message"] == "device-record"
    signature = base64.b64decode(value["signature" if is_record else "proof"])
    assert len(signature) == cose.SIGNATURE_BYTES
    signers = {signer.kid.hex(): signer for signer in (keys.DEVICE, keys.RECEIVER, keys.OTHER_RECEIVER)}
    signer = signers[value["receiver" if is_record else "key_id"]]
    signer.key.public_key().verify(signature, bytes.fromhex(vector["steps"]["signed"]))


@pytest.mark.parametrize("file", [file for file in STEPS if file.startswith("bundle/")])
def test_the_steps_are_what_a_bundle_signs(file: str) -> None:
    """The digest under the first signature, and that signature with the trusted comment under the second one."""
    vector = load(file)
    _, first, _, second, content = product.joined(vector["data"]).split(b"\n", 4)
    steps = {name: bytes.fromhex(digits) for name, digits in vector["steps"].items()}
    assert steps["signed"] == hashlib.blake2b(content).digest()
    assert steps["signature"] == base64.b64decode(first)[10:]
    owner = keys.OWNER.key.public_key()
    owner.verify(steps["signature"], steps["signed"])
    owner.verify(base64.b64decode(second), steps["signed_over_all"])


@pytest.mark.parametrize("file", [file for file in STEPS if file.startswith("export/")])
def test_the_steps_open_an_exported_read(file: str) -> None:
    """The content key opens the ciphertext with them, and is what the header commits to."""
    vector = load(file)
    steps = {name: bytes.fromhex(digits) for name, digits in vector["steps"].items()}
    files = product.data_of(vector)
    envelope = parse_envelope(files["envelope.cose"])
    content_key = bytes.fromhex(files["content.key"].decode())
    content, _ = sealed_content(envelope)
    opened = suites.content_aead(content.alg, content_key).decrypt(
        content.nonce, content.ciphertext, steps["enc_structure"]
    )
    assert cbor.encode(vector["expect"]["values"]["read"]["text"]) in opened
    if envelope.position.version == 2:
        assert cbor.sha256(steps["committed"]) == steps["commitment"] == envelope.header.commitment


def test_the_recorded_ciphertexts_open() -> None:
    """What the hybrid seals from them opens with the product's HPKE, so they are ML-KEM's for these keys."""
    assert set(keys.recorded_ciphertexts()) == {keys.HYBRID.name, keys.CASE.name}
    for recipient in (keys.HYBRID, keys.CASE, keys.AGENCY, keys.AUDITOR):
        ek, sealed = recipient.seal(b"content key", b"info")
        private = recipient.suite.load_private(recipient.private)
        assert recipient.suite.hpke.decrypt(ek + sealed, private, info=b"info") == b"content key"
