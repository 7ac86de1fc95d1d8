"""docs/FORMAT.md tells the truth: its worked example opens, and its diagnostic notation is the envelope's."""

from __future__ import annotations

import re
from pathlib import Path

from agent.custody.opener import PrivateKey, open_envelope
from agent.wire import suites
from agent.wire.envelope import parse_envelope, verify_envelope
from tests.vectors import worked_example

DOCUMENT = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text()


def documented_envelope() -> bytes:
    """Return the bytes of the document's envelope."""
    found = re.search(r"```hex\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return bytes.fromhex(found[1].replace("\n", ""))


def test_the_worked_example_verifies_and_opens() -> None:
    """With the keys that the document names, to the read that it shows."""
    envelope = parse_envelope(documented_envelope())
    verify_envelope(envelope, worked_example.DEVICE.public_key())
    suite, raw = suites.SUITES[suites.KeyType.X25519], worked_example.RECIPIENT_RAW
    kid = suite.kid(suite.derive_public(raw))
    assert open_envelope(envelope, {kid: PrivateKey(suite=suite, kid=kid, raw=raw)}) == worked_example.READ


def test_the_example_is_rendered_from_its_bytes() -> None:
    """Hex, id, lengths and diagnostic notation belong together."""
    assert worked_example.section(documented_envelope()) in DOCUMENT


def test_every_suite_and_version_is_documented() -> None:
    """A row per key type, with its algorithm and lengths."""
    assert set(suites.SUITES) == set(suites.KeyType)
    for suite in suites.SUITES.values():
        row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{suite.key_type}`"))
        assert str(suite.alg) in row
        assert f"{suite.enc_bytes} bytes" in row
        assert f"{suite.public_bytes} bytes" in row
