"""The commands of owner and receiver on a store in PostgreSQL give what they give on a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli.receiver import app
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.custody_cli import CASE, custody
from tests.fakes.postgres import Cluster

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture
def benches(cluster: Cluster, tmp_path: Path) -> tuple[CustodyBench, CustodyBench]:
    """Return the same reads in a file and in a database."""
    (tmp_path / "file").mkdir()
    (tmp_path / "database").mkdir()
    other = make_custody_bench(tmp_path / "database", store=cluster.new_database())
    return make_custody_bench(tmp_path / "file"), other


def _opened(bench: CustodyBench, *more: str) -> list[str]:
    """Return the plates that `custody open` finds, in its order."""
    folders = ("--dir", bench.directory, "--store", bench.receiver, "--passphrase-file", bench.passphrase_file)
    done = custody("open", *folders, *CASE, *more, "--json")
    assert done.code == 0, done.err
    return [found["text"] for found in map(json.loads, done.out.splitlines()) if "text" in found]


def _verified(bench: CustodyBench) -> Any:
    said = CliRunner().invoke(app, ["verify", str(bench.receiver), "--json"])
    assert said.exit_code == 0, said.output
    (chain,) = json.loads(said.output)["chains"]
    return {name: chain[name] for name in ("device", "envelopes", "continuous", "dropped") if name in chain}


def test_reads_are_opened_and_verified_from_a_database(benches: tuple[CustodyBench, CustodyBench]) -> None:
    """All of them, and those of one day; what `verify` reports is the same."""
    file, database = benches
    assert _opened(database) == _opened(file) != []
    assert _opened(database, "--from", "2026-03-02") == _opened(file, "--from", "2026-03-02") != []
    assert _verified(database) == _verified(file)


def test_an_epoch_is_dropped_from_a_database(benches: tuple[CustodyBench, CustodyBench]) -> None:
    """By its key's id; what is left is opened and verified as from a file."""
    for bench in benches:
        kid = bench.envelopes[0].kids[0].hex()
        done = CliRunner().invoke(app, ["drop-epoch", str(bench.receiver), kid, "--yes-the-key-exists", "--yes"])
        assert done.exit_code == 0, done.output
    file, database = benches
    assert _opened(database) == _opened(file) != []
    assert _verified(database) == _verified(file)


def test_a_backup_of_a_database_is_told_to_be_the_databases_matter(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing is written that could be taken for one."""
    address = cluster.new_database()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "receiver"), "--store", address]).exit_code == 0
    refused = CliRunner().invoke(app, ["backup", str(tmp_path / "receiver"), str(tmp_path / "copy")])
    assert "the reads are in this database" in str(refused.exception)
    assert not (tmp_path / "copy").exists()


def test_a_mistyped_address_is_told(tmp_path: Path) -> None:
    """By `init`, and by whatever meets a folder whose file has been edited; in one line."""
    refused = CliRunner().invoke(app, ["init", str(tmp_path / "new"), "--store", "mysql://db/reads"])
    assert "the address of a database is needed, postgresql://" in str(refused.exception)
    assert not (tmp_path / "new").exists()
    refused = CliRunner().invoke(app, ["init", str(tmp_path / "new"), "--needs-standby"])
    assert "--needs-standby goes with --store" in str(refused.exception)
