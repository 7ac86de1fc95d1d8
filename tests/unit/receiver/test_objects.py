"""Envelopes' bytes in an object store, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import ReceiverError
from agent.receiver.stores.objects import ObjectBodies, ObjectPlace, load_place
from agent.wire import cbor
from tests.fakes.object_store import object_store, with_conflicts, without_conditions

KEYS = "[default]\naws_access_key_id = who\naws_secret_access_key = very-secret\n"
DATA = b"first envelope, second envelope"


@pytest.fixture(scope="module")
def place() -> Iterator[ObjectPlace]:
    """Run a store."""
    with object_store() as found:
        yield found


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    """Return the path of the keys."""
    path = tmp_path / "keys"
    path.write_text(KEYS)
    path.chmod(0o600)
    return str(path)


def opened(place: ObjectPlace, credentials: str, **changes: object) -> ObjectBodies:
    """Open a place with keys, and with other values where that is wanted."""
    return ObjectBodies(place.model_copy(update={"credentials": credentials, **changes}))


def test_what_was_put_is_read_in_pieces(place: ObjectPlace, credentials: str) -> None:
    """Also by another receiver; fewer bytes come where the object ends, none where there is none."""
    digest = opened(place, credentials).put("a1", DATA)
    other = opened(place, credentials)
    assert digest == cbor.sha256(DATA)
    assert other.read("a1", digest, 0, 5) == b"first"
    assert other.read("a1", digest, 16, len(DATA)) == b"second envelope"
    assert other.read("a1", digest, len(DATA) + 1, 5) == b""
    assert other.read("a2", digest, 0, 5) == b""
    assert other.read("a1", digest, 3, 0) == b""


@pytest.mark.parametrize("change", [lambda app: app, without_conditions, with_conflicts])
def test_the_same_bytes_are_stored_once(change: object, credentials: str) -> None:
    """Whether the store keeps the condition, overwrites, or says that something is there where nothing is."""
    with object_store(change) as place:  # type: ignore[arg-type]  # the three above are of its kind
        bodies = opened(place, credentials)
        assert [bodies.put("a1", DATA) for _ in range(2)] == [cbor.sha256(DATA)] * 2
        assert bodies.read("a1", cbor.sha256(DATA), 0, len(DATA)) == DATA
        bodies.probe()


def test_an_epoch_goes_with_all_its_objects_and_no_other(place: ObjectPlace, credentials: str) -> None:
    """Also with more than one request takes, and where another epoch's name begins alike."""
    bodies = opened(place, credentials)
    many = [bodies.put("b1", b"%d" % number) for number in range(40)]
    beside = bodies.put("b10", DATA)
    bodies.drop("b1")
    bodies.drop("b1")
    assert [bodies.read("b1", digest, 0, 1) for digest in many] == [b""] * 40
    assert bodies.read("b10", beside, 0, len(DATA)) == DATA


def test_a_bucket_that_is_not_there_is_one_line(place: ObjectPlace, credentials: str) -> None:
    """It names the place and what the store said, and no key."""
    with pytest.raises(ReceiverError, match=r"^s3://nowhere/plateseal: cannot store: .*404") as told:
        opened(place, credentials, bucket="nowhere").probe()
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)


def test_a_store_that_is_away_is_one_line(credentials: str) -> None:
    """Nothing is stored, so nothing may be receipted."""
    with object_store() as gone:
        bodies = opened(gone, credentials)
    with pytest.raises(ReceiverError, match=r"^s3://bodies/plateseal: cannot store: ") as told:
        bodies.put("a1", DATA)
    with pytest.raises(ReceiverError, match="cannot read"):
        bodies.read("a1", cbor.sha256(DATA), 0, 5)
    with pytest.raises(ReceiverError, match="cannot delete"):
        bodies.drop("a1")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bucket = 'Bodies!'", "bucket: String should match pattern"),
        ("", "bucket: Field required"),
        ("bucket = 'b'\nendpoint = 'https://user:word@host'", "endpoint: String should match pattern"),
        ("bucket = 'b'\nkey = 'k'", "key: Extra inputs are not permitted"),
        ("bucket =", "not a TOML file"),
    ],
)
def test_a_wrong_place_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    """With the file and the key; no value, which may be a secret in the wrong place."""
    path = tmp_path / "objects.toml"
    path.write_text(text)
    with pytest.raises(ReceiverError, match=told) as error:
        load_place(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "word" not in str(error.value)


def test_keys_that_others_can_read_are_refused(place: ObjectPlace, credentials: str, tmp_path: Path) -> None:
    """And so is a file without them; what is in it is not told."""
    Path(credentials).chmod(0o644)
    with pytest.raises(ReceiverError, match="keys"):
        opened(place, credentials)
    odd = tmp_path / "odd"
    odd.write_text("very-secret")
    odd.chmod(0o600)
    with pytest.raises(ReceiverError, match="aws_access_key_id and aws_secret_access_key is needed") as told:
        opened(place, str(odd))
    assert "very-secret" not in str(told.value)
