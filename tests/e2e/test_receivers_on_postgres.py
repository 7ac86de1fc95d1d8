"""Two receivers on one PostgreSQL, each its own process, over real TLS on loopback."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.receiver.admission.operators import OperatorBook
from agent.receiver.admission.pki import issue_operator
from agent.receiver.admission.revoke import revoke
from agent.receiver.fleet.shared import open_fleet
from agent.receiver.fleet.store import Reported, SeenFork
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import open_store, store_of
from agent.wire.envelope import Envelope
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Stored, encode_request
from tests.e2e.test_receiver_tls import check_receipts, client, post, running
from tests.fakes.envelopes import make_chain
from tests.fakes.health import NOW, make_report
from tests.fakes.pki import Bench, add_device, make_bench
from tests.fakes.postgres import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.needs("postgresql")]


@pytest.fixture
def benches(cluster: Cluster, tmp_path: Path) -> tuple[Bench, Bench]:
    """Return a receiver on a new database, and another one that has a copy of its folder, without the CA's key."""
    (tmp_path / "other").mkdir()
    first = make_bench(tmp_path, store=cluster.new_database())
    copied = tmp_path / "other" / "receiver"
    shutil.copytree(first.receiver.directory, copied, ignore=shutil.ignore_patterns(first.receiver.ca_key.name))
    return first, replace(first, root=tmp_path / "other", receiver=ReceiverLayout(copied))


def _send(http: httpx.Client, envelopes: list[Envelope]) -> httpx.Response:
    body = encode_request([envelope.data for envelope in envelopes])
    return http.post(ENVELOPES_PATH, content=body, headers={"content-type": MEDIA_TYPE})


def test_a_unit_moves_between_two_receivers_that_give_one_receipt(benches: tuple[Bench, Bench]) -> None:
    """Its chain goes on where it moves to, in one log; what both are sent has the same receipt from both."""
    chain = make_chain(benches[0].device.signing_key, 12, run=0)
    with ExitStack() as stack:
        ports = [stack.enter_context(running(bench))[1] for bench in benches]
        first, second = (stack.enter_context(client(bench, port)) for bench, port in zip(benches, ports, strict=True))
        answers = [*post(first, chain[:4]), *post(second, chain[4:8]), *post(first, chain[8:])]
        again = post(second, chain)
    check_receipts(benches[0], chain, answers)
    assert again == answers
    with open_store(store_of(benches[1].receiver), read_only=True) as store:
        assert [row.log for row in store.pages()] == list(range(1, 13))


def test_a_unit_that_is_revoked_is_refused_by_both_at_once(benches: tuple[Bench, Bench]) -> None:
    """By `receiver revoke` in one of the two folders; a unit that is enrolled there is known to the other one."""
    first, second = benches
    added = add_device(first.receiver, first.root / "added", name="cam-2")
    chain = make_chain(added.signing_key, 2, run=0)
    with running(first) as (_, port), running(second) as (_, other):
        contexts = [bench.client_context(added) for bench in benches]
        with client(first, port, contexts[0]) as here, client(second, other, contexts[1]) as there:
            assert all(isinstance(answer, Stored) for answer in post(there, chain))
            revoke(first.receiver.directory, "cam-2", reason="stolen")
            for http in (here, there):
                reply = http.post(
                    ENVELOPES_PATH, content=encode_request([chain[0].data]), headers={"content-type": MEDIA_TYPE}
                )
                assert reply.status_code == 403


def test_a_report_to_one_is_on_the_page_of_the_other(benches: tuple[Bench, Bench]) -> None:
    """Both show the whole fleet, whichever of them a unit reports to, and who may see it is known to both."""
    with open_fleet(benches[0].receiver) as one, open_fleet(benches[1].receiver) as other:
        one.keep("cam-1", make_report(), NOW)
        one.keep_fork(bytes(32), "two at once", NOW)
        assert other.newest() == one.newest() == {"cam-1": Reported(NOW, make_report())}
        assert other.forks() == {bytes(32): SeenFork(NOW, "two at once")}
    issued = issue_operator(benches[0].receiver.directory, "ada", passphrase="x" * 12, now=NOW)
    certificate = load_pkcs12(issued.pkcs12, b"x" * 12).cert
    assert certificate is not None
    der = certificate.certificate.public_bytes(Encoding.DER)
    assert OperatorBook(benches[1].receiver.operators).by_certificate(der) == issued.operator


def test_a_receiver_outlives_the_other(benches: tuple[Bench, Bench]) -> None:
    """One is killed; the unit goes on at the other, and gets for what it sent before the receipt that it had."""
    chain = make_chain(benches[0].device.signing_key, 6, run=0)
    with running(benches[0]) as (process, port), running(benches[1]) as (_, other), client(benches[0], port) as http:
        before = post(http, chain[:3])
        process.kill()
        process.wait()
        with client(benches[1], other) as there:
            after = post(there, chain)
    assert after[:3] == before
    assert all(isinstance(answer, Stored) for answer in after)


def test_while_the_database_is_gone_units_are_told_to_come_later(tmp_path: Path) -> None:
    """Killed and started again: what had a receipt is there, and the receiver goes on by itself."""
    with Cluster() as own:
        bench = make_bench(tmp_path, store=own.new_database())
        chain = make_chain(bench.device.signing_key, 6, run=0)
        with running(bench) as (_, port), client(bench, port) as http:
            before = post(http, chain[:3])
            own.kill()
            assert _send(http, chain[3:]).status_code == 503
            own.start()
            after = post(http, chain)
    assert after[:3] == before
    assert all(isinstance(answer, Stored) for answer in after)


def test_the_commands_of_a_receiver_work_on_a_database(cluster: Cluster, tmp_path: Path) -> None:
    """`init` with `--store`, then `verify` with its state; a second `init` on the same database is refused."""
    address, folder, state = cluster.new_database(), tmp_path / "receiver", tmp_path / "state"
    run = CliRunner().invoke
    made = run(app, ["init", str(folder), "--store", address])
    assert (made.exit_code, (folder / "store.url").read_text()) == (0, f"{address}\n")
    assert not (folder / "envelopes.db").exists()
    refused = run(app, ["init", str(tmp_path / "second"), "--store", address])
    assert "holds a store already" in str(refused.exception)
    said = [run(app, ["verify", str(folder), "--state", str(state), "--json"]) for _ in range(2)]
    assert [each.exit_code for each in said] == [0, 0]
    assert [json.loads(each.output)["chains"] for each in said] == [[], []]
