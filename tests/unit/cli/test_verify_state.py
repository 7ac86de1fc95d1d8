"""`plateseal receiver verify --state`: the files it keeps, what it says, and when it refuses."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from agent.cli.receiver import app
from agent.errors import KeyFileError, UsageError, VerificationError
from agent.keys.keyfiles import public_pem, write_private
from agent.receiver.stores.integrity import PageCheck, check_pages
from agent.receiver.stores.sqlite import SqliteStore
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.pki import Bench, make_bench
from tests.fakes.reads import NOON
from tests.fakes.stored import alter_body


class Site:
    """A receiver with reads, and a verifier's folder."""

    def __init__(self, root: Path) -> None:
        self.bench: Bench = make_bench(root)
        self.state = root / "verified.state"
        self.key = root / "verified.state.key"
        self.chain = make_chain(self.bench.device.signing_key, 5, run=0)
        self._store()

    def _store(self) -> None:
        with SqliteStore.open(self.bench.receiver.store) as store:
            store.store_batch(self.chain, NOON, self.bench.receipt_key)

    def more(self) -> None:
        """Store one more read."""
        self.chain.append(make_envelope(self.bench.device.signing_key, next_position(self.chain[-1])))
        self._store()

    def edit(self, statement: str) -> None:
        """Change the store."""
        with closing(sqlite3.connect(self.bench.receiver.store)) as connection:
            connection.execute(statement)
            connection.commit()

    def verify(self, *arguments: str | Path) -> Result:
        """Run the command."""
        words = ["verify", self.bench.receiver.directory, "--state", self.state, *arguments]
        return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return one that was verified once."""
    site = Site(tmp_path)
    done = site.verify("--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["since"] is None
    return site


def test_the_next_run_checks_what_is_new(site: Site) -> None:
    """It says so, and what it leaves to a full run; its report is that of a full run. The files are the verifier's."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in (site.state, site.key)} == {0o600}
    site.more()
    done = site.verify("--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["since"] == {"log": 5, "new": 1, "chains_whole": 0, "read_again": 5}
    full = json.loads(site.verify("--json", "--full").output)
    assert (full["chains"], full["units"], full["since"]) == (said["chains"], said["units"], None)
    shown = site.verify().output
    assert "checked now: 0 entries behind entry 6 of the log" in shown
    assert "are checked with --full" in shown


def test_what_is_new_and_wrong_is_found(site: Site) -> None:
    """As without a state."""
    site.more()
    alter_body(site.bench.receiver.store, bytes(40), where="log = 6")
    done = site.verify()
    assert isinstance(done.exception, VerificationError)
    assert "altered seq 5" in done.output


def _with_a_bit_turned(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("harm", "words", "is_wrong"),
    [
        (lambda site: site.edit("DELETE FROM envelopes WHERE log > 3"), "the store ends at 3", True),
        (
            lambda site: site.edit("UPDATE receipts SET receipt = zeroblob(9) WHERE log = 2"),
            "are not those that were",
            True,
        ),
        (
            lambda site: site.state.write_bytes(_with_a_bit_turned(site.state.read_bytes())),
            "is not to be believed",
            False,
        ),
        (lambda site: site.state.write_bytes(b"anything"), "is not to be believed", False),
    ],
    ids=["older", "changed", "altered state", "no state"],
)
def test_it_is_refused_in_one_line_until_a_full_run(
    site: Site, harm: Callable[[Site], object], words: str, is_wrong: bool
) -> None:
    """The line says what to do; nothing is remembered meanwhile."""
    harm(site)
    before = site.state.read_bytes()
    done = site.verify()
    assert isinstance(done.exception, VerificationError)
    line = str(done.exception).splitlines()[-1]
    assert words in line
    assert "--full" in line
    assert site.state.read_bytes() == before
    assert isinstance(site.verify("--full").exception, VerificationError) == is_wrong
    assert isinstance(site.verify().exception, VerificationError) == is_wrong


def test_another_store_is_refused(site: Site, tmp_path: Path) -> None:
    """Whatever its length."""
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other")
    other.state, other.key = site.state, site.key
    assert "another store" in str(other.verify().exception)


def test_another_key_is_refused(site: Site, tmp_path: Path) -> None:
    """So is a key that is gone; a key that is given signs the next state."""
    write_private(tmp_path / "own.key", Ed25519PrivateKey.generate())
    assert "signed by key" in str(site.verify("--key", tmp_path / "own.key").exception)
    site.key.unlink()
    gone = site.verify()
    assert isinstance(gone.exception, KeyFileError)
    assert "proves nothing" in str(gone.exception)
    site.state.unlink()
    for _ in range(2):
        assert site.verify("--key", tmp_path / "own.key").exit_code == 0
    assert not site.key.exists()


def test_a_run_that_checks_everything_checks_the_pages_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other receipt keys, and after a state of an empty store; and only then."""
    looked = list[Path]()

    def look(path: Path, *, within_s: float) -> PageCheck:
        looked.append(path)
        return check_pages(path, within_s=within_s)

    monkeypatch.setattr("agent.cli.receiver.verify.check_pages", look)
    assert site.verify().exit_code == 0
    assert looked == []
    other = public_pem(Ed25519PrivateKey.generate().public_key())
    site.bench.receiver.receipt_earlier.write_bytes(other)
    assert site.verify().exit_code == 0
    assert looked == [site.bench.receiver.store]


def test_options_without_a_state_are_refused(site: Site) -> None:
    """They would do nothing."""
    done = CliRunner().invoke(app, ["verify", str(site.bench.receiver.directory), "--full"])
    assert isinstance(done.exception, UsageError)
