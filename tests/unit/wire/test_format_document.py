"""docs/FORMAT.md tells the truth: its worked example opens, and its diagnostic notation is the envelope's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config.bundle import MAX_BUNDLE_BYTES
from agent.custody import audit_entry, audit_head, locked
from agent.custody.cases import MAX_HELD_BYTES
from agent.custody.opener import PrivateKey, open_envelope
from agent.receiver.admission import records
from agent.receiver.admission.strictjson import MAX_DOCUMENT_BYTES
from agent.wire import (
    envelope,
    health,
    keyring,
    plaintext,
    probe,
    protocol,
    receipt,
    renewal,
    rotation,
    suites,
    times,
    tombstone,
)
from agent.wire.envelope import parse_envelope, verify_envelope
from agent.wire.header import MAX_SEQ
from tests.vectors import worked_example

DOCUMENT = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text()


ENVELOPES = [bytes.fromhex(digits) for digits in re.findall(r"```hex\n(.*?)```", DOCUMENT, re.DOTALL)]


def test_both_versions_have_an_example() -> None:
    """The newer one first."""
    assert [parse_envelope(data).position.version for data in ENVELOPES] == [2, 1]
    assert worked_example.keys_section() in DOCUMENT


@pytest.mark.parametrize("data", ENVELOPES, ids=["version-2", "version-1"])
def test_the_worked_example_verifies_and_opens(data: bytes) -> None:
    """With the keys that the document names, to the read that it shows."""
    envelope = parse_envelope(data)
    verify_envelope(envelope, worked_example.DEVICE.public_key())
    suite, raw = suites.SUITES[suites.KeyType.X25519], worked_example.RECIPIENT_RAW
    kid = suite.kid(suite.derive_public(raw))
    assert open_envelope(envelope, {kid: PrivateKey(suite=suite, kid=kid, raw=raw)}) == worked_example.READ


@pytest.mark.parametrize("data", ENVELOPES, ids=["version-2", "version-1"])
def test_the_example_is_rendered_from_its_bytes(data: bytes) -> None:
    """Hex, id, lengths and diagnostic notation belong together."""
    assert worked_example.section(data) in DOCUMENT


def test_every_message_names_its_vectors() -> None:
    """The table of messages leads to each folder of vectors, and to no other."""
    folder = Path(worked_example.__file__).parent
    named = re.findall(r"\]\(\.\./tests/vectors/([a-z-]+)\)", DOCUMENT)
    assert sorted(named) == sorted({path.parent.name for path in folder.glob("*/*.json")} - {"js"})


def test_every_suite_and_version_is_documented() -> None:
    """A row per key type, with its algorithm and lengths."""
    assert set(suites.SUITES) == set(suites.KeyType)
    for suite in suites.SUITES.values():
        row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{suite.key_type}`"))
        assert str(suite.alg) in row
        assert f"{suite.enc_bytes} bytes" in row
        assert f"{suite.public_bytes} bytes" in row


LIMITS = [
    ("Common rules", MAX_SEQ),
    ("Common rules", times.MAX_TIME_MS),
    ("Common rules", plaintext.MAX_THOUSANDTHS),
    ("Common rules", plaintext.MAX_NAME_CHARS),
    ("Envelope", envelope.MAX_ENVELOPE_BYTES),
    ("Envelope", envelope.MAX_RECIPIENTS),
    ("Plaintext", plaintext.MAX_TEXT_CHARS),
    ("Plaintext", plaintext.MAX_LOOKS),
    ("Plaintext", plaintext.MAX_FRAME_PX),
    ("Plaintext", plaintext.USUAL_TEXT_CHARS),
    ("Plaintext", plaintext.USUAL_NAME_CHARS),
    ("Tombstone", tombstone.MAX_GONE),
    ("Receipt", receipt.MAX_RECEIPT_BYTES),
    ("Receipt", f"{times.FIRST_DAY:%Y-%m-%dT%H:%M:%SZ}"),
    ("Request and reply", protocol.MAX_BATCH_ENVELOPES),
    ("Request and reply", protocol.MAX_BATCH_BYTES),
    ("Request and reply", protocol.MAX_REPLY_BYTES),
    ("Request and reply", protocol.MAX_REASON_CHARS),
    ("Request and reply", protocol.MAX_WAIT_S),
    ("Keyring", keyring.MAX_KEYRING_KEYS),
    ("Keyring", keyring.MAX_KEYRING_BYTES),
    ("Rotation", rotation.MAX_ROTATION_BYTES),
    ("Rotation", rotation.MAX_CSR_BYTES),
    ("Renewal", renewal.MAX_RENEWAL_BYTES),
    ("Renewal", renewal.MAX_CERTIFICATE_BYTES),
    ("Renewal", renewal.MAX_CHAIN_BYTES),
    ("Probe", probe.MAX_PROBE_BYTES),
    ("Key files", locked.MAX_FILE_BYTES),
    ("Key files", f"2^{locked.MAX_N.bit_length() - 1}"),
    ("Key files", locked.MAX_R),
    ("Key files", locked.MAX_P),
    ("Held read", MAX_HELD_BYTES),
    ("Audit log", audit_entry.MAX_ENTRY_BYTES),
    ("Audit log", audit_entry.MAX_IDS),
    ("Audit log", audit_entry.MAX_REASON_CHARS),
    ("Audit log", audit_head.MAX_HEAD_BYTES),
    ("Enrolment", MAX_DOCUMENT_BYTES),
    ("Device record", records.MAX_RECORD_BYTES),
    ("Device record", records.MAX_EVENTS),
    ("Device record", records.MAX_REASON_CHARS),
    ("Health report", health.MAX_HEALTH_BYTES),
    ("Health report", health.MAX_HEALTH_CAMERAS),
    ("Health report", health.MAX_LINE_CHARS),
    ("Health report", health.MAX_VERSION_CHARS),
    ("Configuration bundle", MAX_BUNDLE_BYTES),
]


@pytest.mark.parametrize(("section", "limit"), LIMITS)
def test_every_limit_of_the_code_stands_in_its_section(section: str, limit: int | str) -> None:
    """With or without commas between thousands. A receipt's first day was another one in text and code."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    written = {str(limit), f"{limit:,}"} if isinstance(limit, int) else {limit}
    assert any(re.search(rf"(?<![\w,.]){re.escape(form)}(?![\w,]*\d)", text) for form in written)
