"""A receiver with the right certificate that does not prove what it should: nothing is ever erased.

Real TLS, real files, the real delivery loop; only the receiver lies.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.models import UploadConfig
from agent.disk.files import LocalFiles
from agent.errors import TransportError
from agent.keys.keyfiles import load_ed25519_private
from agent.records import Envelope, SpoolState
from agent.spool.spool import FileSpool
from agent.unit.process.clock import SystemClock
from agent.upload.tls import HttpsTransport, client_context
from agent.upload.worker import UploadWorker
from agent.wire.protocol import Stored, encode_reply
from tests.fakes.envelopes import make_chain
from tests.fakes.lying_server import Lie, serve_lies
from tests.fakes.pki import Bench, make_bench
from tests.fakes.receipts import honest_receipt
from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return real keys and certificates."""
    return make_bench(tmp_path)


def deliver_once(bench: Bench, lie: Lie) -> tuple[FileSpool, list[Envelope], TransportError | None]:
    """Put three envelopes, send them once to a receiver that lies, and return what is left."""
    spool = FileSpool(bench.root / "spool", max_bytes=1 << 20, files=LocalFiles())
    envelopes = make_chain(bench.device.signing_key, 3)
    for envelope in envelopes:
        spool.put(envelope)
    ca, certificate, key = bench.receiver.ca, bench.device.certificate, bench.device.tls_key
    with serve_lies(bench, lie) as url:
        settings = UploadConfig(
            url=url, ca=ca, certificate=certificate, key=key, receiver_key=bench.receiver.receipt_public
        )
        transport = HttpsTransport(
            url,
            context=client_context(ca=ca, certificate=certificate, key=key),
            clock=SystemClock(),
            connect_timeout_s=WITHIN_S,
            reply_timeout_s=WITHIN_S,
        )
        worker = UploadWorker(
            spool=spool,
            transport=transport,
            receiver_keys=bench.receiver_keys,
            device_key={bench.device.key_id: bench.device.signing_key.public_key()}.get,
            settings=settings,
            clock=SystemClock(),
            stop=threading.Event(),
        )
        try:
            worker.step()
        except TransportError as error:
            return spool, envelopes, error
        finally:
            transport.close()
    return spool, envelopes, None


def assert_all_there(spool: FileSpool, envelopes: list[Envelope]) -> None:
    """Every envelope is pending and whole."""
    pending = {entry.envelope_id for entry in spool.entries(SpoolState.PENDING)}
    assert pending == {envelope.envelope_id for envelope in envelopes}
    for envelope in envelopes:
        assert spool.get(envelope.envelope_id) == envelope


def receipts(envelopes: list[Envelope], key: Ed25519PrivateKey) -> list[bytes]:
    """Return honest receipts by `key`."""
    return [honest_receipt(envelope, key=key) for envelope in envelopes]


def test_an_honest_receiver_erases_everything(bench: Bench) -> None:
    """The same way with nothing wrong: what the other tests hold back is what this one lets through."""
    key = load_ed25519_private(bench.receiver.receipt_key)
    spool, _, error = deliver_once(
        bench, lambda batch: (200, encode_reply([Stored(receipt) for receipt in receipts(batch, key)]))
    )
    assert error is None
    assert spool.entries(SpoolState.PENDING) == []


def test_200_with_an_empty_body_erases_nothing(bench: Bench) -> None:
    """A bare 200 is no receipt."""
    spool, envelopes, error = deliver_once(bench, lambda _: (200, b""))
    assert "0 answers for 3 envelopes" in str(error)
    assert_all_there(spool, envelopes)


def test_receipts_by_another_key_erase_nothing(bench: Bench) -> None:
    """TLS was right, the receipt key is not the pinned one."""
    stranger = Ed25519PrivateKey.generate()
    spool, envelopes, error = deliver_once(
        bench, lambda batch: (200, encode_reply([Stored(receipt) for receipt in receipts(batch, stranger)]))
    )
    assert "unknown receiver key" in str(error)
    assert_all_there(spool, envelopes)


def test_receipts_for_other_envelopes_erase_nothing(bench: Bench) -> None:
    """Genuine receipts of the pinned receiver, for envelopes that were not sent."""
    key = load_ed25519_private(bench.receiver.receipt_key)
    others = make_chain(bench.device.signing_key, 3)
    spool, envelopes, error = deliver_once(
        bench, lambda _: (200, encode_reply([Stored(receipt) for receipt in receipts(others, key)]))
    )
    assert "names another envelope" in str(error)
    assert_all_there(spool, envelopes)


def test_receipts_with_one_bit_changed_erase_nothing(bench: Bench) -> None:
    """One bit of the signature, of the payload and of the header, one receipt each."""
    key = load_ed25519_private(bench.receiver.receipt_key)

    def one_bit_each(batch: list[Envelope]) -> tuple[int, bytes]:
        changed = []
        for receipt, where in zip(receipts(batch, key), (-1, 120, 12), strict=True):
            damaged = bytearray(receipt)
            damaged[where] ^= 1
            changed.append(Stored(bytes(damaged)))
        return 200, encode_reply(changed)

    spool, envelopes, error = deliver_once(bench, one_bit_each)
    assert error is not None
    assert_all_there(spool, envelopes)


@pytest.mark.parametrize("status", [201, 202, 204, 302, 400, 401, 403, 404, 408, 413, 429, 500, 503])
def test_honest_receipts_under_another_status_erase_nothing(bench: Bench, status: int) -> None:
    """Only 200 is an answer."""
    key = load_ed25519_private(bench.receiver.receipt_key)
    body = b"" if status == 204 else None
    spool, envelopes, _ = deliver_once(
        bench,
        lambda batch: (status, body if body is not None else encode_reply([Stored(r) for r in receipts(batch, key)])),
    )
    assert_all_there(spool, envelopes)
