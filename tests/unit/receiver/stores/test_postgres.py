"""The store in PostgreSQL: what is asked of the server, and that no receipt follows from a commit that is in doubt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.conninfo import conninfo_to_dict

from agent.errors import ReceiverError
from agent.receiver.stores.opening import create_store, open_store
from agent.receiver.stores.postgres.database import TRIES
from agent.receiver.stores.postgres.store import PostgresStore
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.postgres import Cluster
from tests.fakes.receipts import RECEIVER
from tests.fakes.stored import bodies
from tests.fakes.waiting import wait_until

pytestmark = pytest.mark.needs("postgresql")

_KEY: Final = Ed25519PrivateKey.generate()
_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def url(cluster: Cluster) -> str:
    """Return the address of a database with an empty store."""
    address = cluster.new_database()
    create_store(address)
    return address


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """Return that store, open."""
    with PostgresStore(url, read_only=False) as opened:
        yield opened


@pytest.fixture
def other(url: str) -> Iterator[psycopg.Connection]:
    """Return a connection to the same database, of somebody else."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("SET search_path = plateseal")
        yield connection


def test_a_database_without_a_store_is_told(cluster: Cluster) -> None:
    """It is refused in one line that says what makes one; and where one is, no second one is made."""
    address = cluster.new_database()
    with pytest.raises(ReceiverError, match="there is no store; `plateseal receiver init"):
        open_store(address)
    create_store(address)
    with pytest.raises(ReceiverError, match="holds a store already"):
        create_store(address)


def test_a_server_that_is_not_there_is_told(cluster: Cluster) -> None:
    """In one line, without a traceback."""
    with pytest.raises(ReceiverError, match="not a usable store: [^\n]+"):
        open_store(f"postgresql://nobody@/none?host={cluster.folder}/missing")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hidden-word@h/d",
        "postgresql://u@h/d?password=hidden-word",
        "postgresql://u@h/d?sslpassword=hidden-word",
        "postgresql://u:hidden-word@[h/d",
        "postgresql://u:hidden-word@h/d?nothing",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    """It would stand in a file and in messages; the way out is a file that only its owner can read."""
    with pytest.raises(ReceiverError, match="passfile=") as refused:
        create_store(address)
    assert "hidden-word" not in str(refused.value)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_could_lose_what_it_says_is_refused(setting: str) -> None:
    """No store is made there, and none is opened to write; it can be read."""
    with Cluster() as mild:
        address = mild.new_database()
        create_store(address)
        mild.execute(f"ALTER SYSTEM SET {setting} = off")
        mild.execute("SELECT pg_reload_conf()")
        wait_until(lambda: mild.execute(f"SHOW {setting}") == [("off",)])
        with pytest.raises(ReceiverError, match=f"the server's {setting} is off"):
            open_store(address)
        with open_store(address, read_only=True) as reader:
            assert reader.totals().envelopes == 0


def test_a_cluster_without_checksums_is_refused() -> None:
    """A damaged page would be handed out as it is."""
    with Cluster(checksums=False) as plain, pytest.raises(ReceiverError, match="data_checksums is off"):
        create_store(plain.new_database())


def test_a_role_that_does_not_wait_for_the_disk_has_no_say(cluster: Cluster, url: str) -> None:
    """`synchronous_commit = off` of a database wins silently over the server's; the store sets its own."""
    name = conninfo_to_dict(url)["dbname"]
    cluster.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with PostgresStore(url, read_only=False) as store:
        assert store._read("SHOW synchronous_commit") == [("on",)]


def test_without_a_standby_that_is_needed_nothing_is_receipted(cluster: Cluster) -> None:
    """A server that names none would acknowledge alone, as one does that was a standby yesterday."""
    address = cluster.new_database()
    create_store(address, needs_standby=True)
    with open_store(address) as store:
        with pytest.raises(ReceiverError, match="synchronous_standby_names is empty"):
            store.store_batch([make_envelope(_KEY)], _AT, RECEIVER)
        assert store.totals().envelopes == 0


def test_a_receiver_that_waits_too_long_for_a_lock_says_so(
    store: PostgresStore, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may be waiting for the standby; nothing is stored, and the same batch goes well afterwards."""
    monkeypatch.setattr("agent.receiver.stores.postgres.database.LOCK_WITHIN_S", 0.05)
    envelope = make_envelope(_KEY)
    store.store_batch([envelope], _AT, RECEIVER)
    store.close()
    other.execute("BEGIN")
    other.execute("SELECT 1 FROM signers FOR UPDATE")
    with pytest.raises(ReceiverError, match="lock timeout"):
        store.store_batch([envelope], _AT, RECEIVER)
    other.execute("ROLLBACK")
    assert store.store_batch([envelope], _AT, RECEIVER)


def test_a_repeat_locks_the_row_that_its_first_time_locked(store: PostgresStore, other: psycopg.Connection) -> None:
    """So its commit waits for the standby as well: a plain look would answer for a row that no standby has."""
    envelope = make_envelope(_KEY)
    (first,) = store.store_batch([envelope], _AT, RECEIVER)
    query = "SELECT xmax::text::bigint FROM signers"
    before = other.execute(query).fetchone()
    assert store.store_batch([envelope], _AT, RECEIVER) == [first]
    assert other.execute(query).fetchone() != before


@pytest.mark.parametrize("kind", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure])
def test_a_transaction_that_lost_to_another_is_done_again(
    store: PostgresStore, kind: type[psycopg.Error], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlock ends one of two; nothing of it is stored, and the next try stores all of it, once."""
    chain, left = make_chain(_KEY, 3, run=0), [kind("lost"), kind("lost")]
    _fail_before_the_commit(store, monkeypatch, left)
    assert all(isinstance(outcome, bytes) for outcome in store.store_batch(chain, _AT, RECEIVER))
    assert ([row.log for row in store.pages()], left) == ([1, 2, 3], [])


def test_one_that_loses_each_time_gives_up(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries the unit is told to come later; nothing is stored."""
    _fail_before_the_commit(store, monkeypatch, [psycopg.errors.DeadlockDetected("lost") for _ in range(TRIES)])
    with pytest.raises(ReceiverError, match="cannot be written"):
        store.store_batch([make_envelope(_KEY)], _AT, RECEIVER)
    assert store.totals().envelopes == 0


def _fail_before_the_commit(store: PostgresStore, monkeypatch: pytest.MonkeyPatch, errors: list[psycopg.Error]) -> None:
    """Have the store's next transactions fail when all of their work is done."""
    write = store._write

    def failing(work: Callable[[psycopg.Connection], object]) -> object:
        def fail(connection: psycopg.Connection) -> object:
            done = work(connection)
            if errors:
                raise errors.pop()
            return done

        return write(fail)

    monkeypatch.setattr(store, "_write", failing)


def test_a_warning_in_a_commit_is_no_receipt(store: PostgresStore, other: psycopg.Connection) -> None:
    """A cancelled wait for the standby ends so: the row is there, and nobody may be told. A repeat gets its receipt."""
    other.execute(
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE WARNING 'canceling wait for synchronous replication'; RETURN NULL; END $$"
    )
    other.execute(
        "CREATE CONSTRAINT TRIGGER warns AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION warn()"
    )
    envelope = make_envelope(_KEY)
    with pytest.raises(ReceiverError, match="not known to last: canceling wait"):
        store.store_batch([envelope], _AT, RECEIVER)
    assert store.totals().envelopes == 1
    assert store.store_batch([envelope], _AT, RECEIVER)


def test_an_error_that_somebody_caught_is_no_commit(store: PostgresStore) -> None:
    """PostgreSQL answers such a COMMIT with a rollback and no error."""

    def work(connection: psycopg.Connection) -> None:
        connection.execute("UPDATE log SET used = 7")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")

    with pytest.raises(ReceiverError, match="failed before its commit"):
        store._write(work)
    assert store.try_to_write() == 0


def test_a_connection_that_was_cut_is_replaced(store: PostgresStore, cluster: Cluster) -> None:
    """After a restart of the server the next batch goes well."""
    (first,) = store.store_batch([make_envelope(_KEY)], _AT, RECEIVER)
    others = "FROM pg_stat_activity WHERE application_name = 'plateseal'"
    cluster.execute(f"SELECT pg_terminate_backend(pid) {others}")
    wait_until(lambda: cluster.execute(f"SELECT count(*) {others}") == [(0,)])
    assert isinstance(first, bytes)
    assert isinstance(store.store_batch([make_envelope(_KEY)], _AT, RECEIVER)[0], bytes)


def test_several_threads_of_one_store_work_side_by_side(store: PostgresStore) -> None:
    """More of them than there are connections; each envelope has its entry, and the log no gap."""
    chains = [make_chain(Ed25519PrivateKey.generate(), 6, run=0) for _ in range(8)]
    threads = [threading.Thread(target=store.store_batch, args=(chain, _AT, RECEIVER)) for chain in chains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.log for row in store.pages()] == list(range(1, 49))
    assert sorted(bodies(store)) == sorted(each.data for chain in chains for each in chain)


def test_a_body_that_was_damaged_is_mended_by_a_repeat(store: PostgresStore, other: psycopg.Connection) -> None:
    """Its receipt must stay true; one that is gone comes back as well."""
    chain = make_chain(_KEY, 3, run=0)
    receipts = store.store_batch(chain, _AT, RECEIVER)
    other.execute("UPDATE bodies_1 SET body = 'x' WHERE place = 1")
    other.execute("DELETE FROM bodies_1 WHERE place = 2")
    assert [row.body == each.data for row, each in zip(store.pages(), chain, strict=True)] == [False, False, True]
    assert store.store_batch(chain, _AT, RECEIVER) == receipts
    assert bodies(store) == [each.data for each in chain]


def test_a_receipt_that_was_taken_is_not_signed_again(store: PostgresStore, other: psycopg.Connection) -> None:
    """The envelope is there, and no second receipt for it can be."""
    envelope = make_envelope(_KEY)
    store.store_batch([envelope], _AT, RECEIVER)
    other.execute("DELETE FROM receipts")
    (outcome,) = store.store_batch([envelope], _AT, RECEIVER)
    assert "is not in the store" in getattr(outcome, "reason", "")


def test_a_drop_leaves_no_table(store: PostgresStore, other: psycopg.Connection) -> None:
    """Its room is the disk's again; a table that a kill left over goes at the next opening."""
    kid = bytes(32)
    store.store_batch([make_envelope(_KEY, kids=[kid])], _AT, RECEIVER)
    store.drop_epochs([kid], _AT)
    query = "SELECT count(*) FROM pg_tables WHERE tablename = 'bodies_1'"
    assert other.execute(query).fetchone() == (0,)
    other.execute("CREATE TABLE bodies_1 (LIKE bodies)")
    PostgresStore(store._url, read_only=False).close()
    assert other.execute(query).fetchone() == (0,)


def test_a_missing_table_of_bodies_is_told(store: PostgresStore, other: psycopg.Connection) -> None:
    """By whoever verifies; the entries are there."""
    store.store_batch([make_envelope(_KEY)], _AT, RECEIVER)
    assert store.faults() == []
    other.execute("DROP TABLE bodies_1")
    assert [fault.rpartition(": ")[2] for fault in store.faults()] != []
    assert [row.body for row in store.pages()] == [b""]
