"""docs/FORMAT.md tells the truth: its worked example opens, and its diagnostic notation is the envelope's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.custody.opener import PrivateKey, open_envelope
from agent.wire import suites
from agent.wire.envelope import parse_envelope, verify_envelope
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


def test_every_suite_and_version_is_documented() -> None:
    """A row per key type, with its algorithm and lengths."""
    assert set(suites.SUITES) == set(suites.KeyType)
    for suite in suites.SUITES.values():
        row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{suite.key_type}`"))
        assert str(suite.alg) in row
        assert f"{suite.enc_bytes} bytes" in row
        assert f"{suite.public_bytes} bytes" in row
