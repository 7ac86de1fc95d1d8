"""The test vectors of the format: the product judges each as it must, and so does a reader without its code."""

from __future__ import annotations

import ast
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
from agent.wire import cose, suites
from agent.wire.content_key import commit
from agent.wire.envelope import content_aad, parse_envelope, recipient_info, sealed_content
from tests.vectors import keys, make, product

FOLDER = Path(make.__file__).parent
READER = FOLDER / "reader.py"
INDEPENDENT = (READER, FOLDER / "layouts.py", FOLDER / "primitives.py")
FILES = sorted(
    path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json") if "js" not in path.relative_to(FOLDER).parts
)
MESSAGES = sorted({file.split("/")[0] for file in FILES})
MAX_READER_LINES = 200
MIN_VECTORS = 80
README = (FOLDER / "README.md").read_text()

SAYS = {
    "size": r"at most",
    "encoding": r"CBOR",
    "value": r"expected|allowed|needed|none of|outside|does not fit|stand for|not a COSE_|is zero at|answers for|"
    r"no envelope|more than",
    "field": r"missing|unknown|must be empty",
    "version": r"version",
    "algorithm": r"algorithm|not an Ed25519 key|expected an integer",
    "content-type": r"content type",
    "order": r"order|sorted|ends before it begins|begins before the one before it ends",
    "key": r"no public key|small order|another key's|private_value|Invalid EC key",
    "key-id": r"thumbprint",
    "signer": r"signed by (unknown receiver )?key",
    "signature": r"the signature by key \w+ is wrong",
    "proof": r"'proof'",
    "mismatch": r"names another|signed by a key of",
    "same-key": r"the new key is the old one",
    "rollback": r"serial \d+ (is older|was another)",
    "recipient": r"none of these private keys",
    "sealed-key": r"does not open",
    "commitment": r"commits to",
    "ciphertext": r"not what was sealed",
    "passphrase": r"passphrase",
    "use": r"another key than its name says",
    "cost": r"scrypt",
    "chain": r"entry|entries",
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


@pytest.mark.parametrize("message", MESSAGES)
def test_the_product_judges_as_the_files_expect(message: str, tmp_path: Path) -> None:
    """Outcome and error class, with the decoded values of what is right and the reason for what is not."""
    files = [file for file in FILES if file.startswith(f"{message}/")]
    assert files
    assert [fault for file in files if (fault := misjudged(file, tmp_path / Path(file).stem))] == []


def misjudged(file: str, folder: Path) -> str:
    """Return what the product does with a vector where that is not what is expected."""
    vector = load(file)
    expected = vector["expect"]
    cause = expected.pop("cause", None)
    folder.mkdir()
    found, says = product.judge(vector["message"], product.joined(vector["data"]), vector["context"], folder)
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
    "takes any signature": lambda text: text.replace(".verify(signature, encode(signed))", ""),
    "takes any encoding": lambda text: text.replace("check(encode(value) == data[start:at]", "check(True"),
    "takes unknown fields": lambda text: text.replace(" <= kinds.keys()", ""),
    "takes more than one value": lambda text: text.replace("check(len(found) == 1", "check(found"),
}


@pytest.mark.parametrize("name", LAX)
def test_a_lax_reader_does_not_pass(name: str, tmp_path: Path) -> None:
    """The set tells readers apart: one that leaves out a check, or makes too many, gets some vectors wrong."""
    for path in INDEPENDENT:
        shutil.copy(path, tmp_path)
    primitives = tmp_path / "primitives.py"
    lax = LAX[name](primitives.read_text())
    assert lax != primitives.read_text()
    primitives.write_text(lax)
    assert run_reader(FOLDER, tmp_path / "reader.py").returncode == 1


def test_the_reader_is_short_and_independent() -> None:
    """At most so many lines; it and what it rests on import the standard library and `cryptography` alone."""
    assert len(READER.read_text().splitlines()) <= MAX_READER_LINES
    allowed = set(sys.stdlib_module_names) | {"cryptography", "layouts", "primitives"}
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
        has_steps = file.startswith("envelope/2-right-")
        steps = ["steps"] if has_steps else []
        assert list(vector) == ["vector", "format", "message", "why", "expect", "context", "data", *steps]
        assert (vector["vector"], vector["format"]) == (1, 2 if "/2-" in file else 1)
        assert vector["why"].endswith(".")


STEPS = [file for file in FILES if file.startswith("envelope/2-right-")]


@pytest.mark.parametrize("file", STEPS)
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


def test_the_recorded_ciphertexts_open() -> None:
    """What the hybrid seals from them opens with the product's HPKE, so they are ML-KEM's for these keys."""
    assert set(keys.recorded_ciphertexts()) == {keys.HYBRID.name, keys.CASE.name}
    for recipient in (keys.HYBRID, keys.CASE, keys.AGENCY, keys.AUDITOR):
        ek, sealed = recipient.seal(b"content key", b"info")
        private = recipient.suite.load_private(recipient.private)
        assert recipient.suite.hpke.decrypt(ek + sealed, private, info=b"info") == b"content key"
