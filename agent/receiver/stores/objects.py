"""Envelopes' bytes in an S3-compatible object store: one object for what a batch brings to an epoch.

```
PREFIX/EPOCH/DIGEST    envelopes one after the other, with nothing between them; DIGEST is SHA-256 of all of it, in hex
PREFIX/probe/DIGEST    what `probe` writes, reads and deletes
```

Owns: these objects, and how the store is reached. Leaves to others: which envelope stands where in which object (the
store's database), and what an epoch is called (`filing.name_of`).

Invariants: an object is named by what it holds and is never changed. A store that overwrites where it was asked to
create only therefore writes the same bytes again, and an object that is there already is compared before anybody relies
on it: S3 also answers "exists" where it stored nothing (a conflict that asks for a second try) and where the first
answer was lost. What `put` has stored is there when it returns, as far as the store keeps what it has acknowledged. An
object that no row names is the remains of a transaction that was cut off; it goes with its epoch.
"""

from __future__ import annotations

import configparser
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent.errors import KeyFileError, ReceiverError
from agent.keys.keyfiles import read_private_file, read_public_file
from agent.wire import cbor

CONNECT_TIMEOUT: Final = "2s"
REQUEST_TIMEOUT: Final = "10s"
"""A unit waits half a minute for an answer (`upload.tls`), and a batch is a few megabytes."""
RETRIES: Final = 2
RETRY_FOR: Final = timedelta(seconds=10)
DELETED_AT_ONCE: Final = 16
"""Each is a request of its own: not every store knows the one that deletes many."""
PROBE: Final = "probe"
_PROBE_BYTES: Final = b"plateseal looks whether this store keeps what it is given"
_NOT_SAID: Final = "the object store does not answer as it should"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$")]
Endpoint = Annotated[str, StringConstraints(pattern=r"^https?://[^/@\s]+$", max_length=255)]


class ObjectPlace(BaseModel):
    """Where the objects are: the file that `receiver init --bodies` writes, and whoever runs it may change.

    Attributes:
        bucket: The bucket, which exists.
        prefix: What all names begin with, so that a bucket may hold several receivers' bytes.
        endpoint: The store's address, `https://HOST[:PORT]`; left out: Amazon's for the region. `http` is for a store
            on this machine: envelopes are sealed, but the requests' signatures are only as safe as the line.
        region: As the store calls it.
        credentials: Path of a file in the form of Amazon's own tools, for its owner alone: a part `[default]` with
            `aws_access_key_id` and `aws_secret_access_key`. Left out: what the machine's role gives.
        bucket_in_host: Whether the bucket stands in the host's name, as Amazon wants it; elsewhere it is in the path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bucket: Name
    prefix: Prefix = "plateseal"
    endpoint: Endpoint | None = None
    region: Name = "us-east-1"
    credentials: str | None = None
    bucket_in_host: bool = Field(default=False)


def load_place(path: Path) -> ObjectPlace:
    """Read where the objects are.

    Raises:
        ReceiverError: The file cannot be read, is no TOML, or says something that is not allowed; one line each.
    """
    try:
        return ObjectPlace.model_validate(tomllib.loads(read_public_file(path).decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ReceiverError(f"{path}: not a TOML file: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ReceiverError(f"{path}: {key}: {first['msg']}") from None
    except KeyFileError as error:
        raise ReceiverError(str(error)) from error


class ObjectBodies:
    """The objects of one receiver's store. Safe for threads, and for any number of receivers on one bucket."""

    def __init__(self, place: ObjectPlace) -> None:
        """Make ready; nothing is asked yet.

        Raises:
            ReceiverError: The credentials cannot be read.
        """
        self._where = f"s3://{place.bucket}/{place.prefix}"
        self._store = _reached(place)

    def probe(self) -> None:
        """Find out whether the store keeps, returns and deletes; for the start, where somebody reads the answer.

        Raises:
            ReceiverError: It does not, with the store's own reason.
        """
        digest = self.put(PROBE, _PROBE_BYTES)
        if self.read(PROBE, digest, 0, len(_PROBE_BYTES)) != _PROBE_BYTES:
            raise ReceiverError(f"{self._where}: {_NOT_SAID}: it returns other bytes than it was given")
        self.drop(PROBE)

    def put(self, epoch: str, data: bytes) -> bytes:
        """Store bytes, once; on return they are there.

        Args:
            epoch: The name of the epoch's file.
            data: Envelopes one after the other, at least one byte.

        Returns:
            SHA-256 of the bytes, 32 bytes: with the epoch, the object's name.

        Raises:
            ReceiverError: Whether it is stored is not known; nothing may rely on it.
        """
        digest = cbor.sha256(data)
        path = f"{epoch}/{digest.hex()}"
        try:
            self._create(path, data)
        except (BaseError, OSError) as error:
            raise self._failed("store", error) from error
        return digest

    def read(self, epoch: str, digest: bytes, offset: int, length: int) -> bytes:
        """Return bytes of an object: fewer than were asked for where it is shorter, none where there is no such object.

        Raises:
            ReceiverError: The store did not answer.
        """
        if not length:
            return b""
        try:
            found = self._store.get_range(f"{epoch}/{digest.hex()}", start=offset, length=length)
        except FileNotFoundError:
            return b""
        except (BaseError, OSError) as error:
            if "416" in str(error):  # the object ends before the offset, and obstore has no error of its own for that
                return b""
            raise self._failed("read", error) from error
        return bytes(found)

    def drop(self, epoch: str) -> None:
        """Delete all objects of an epoch, also those that no row names; one that is gone is fine.

        Raises:
            ReceiverError: Some may still be there; the next drop goes on.
        """
        try:
            for objects in self._store.list(epoch, chunk_size=DELETED_AT_ONCE):
                self._store.delete([each["path"] for each in objects])
        except (BaseError, OSError) as error:
            raise self._failed("delete", error) from error

    def _create(self, path: str, data: bytes) -> None:
        try:
            self._store.put(path, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            if self._holds(path, data):
                return
            self._store.put(path, data, mode="overwrite", use_multipart=False)
            if not self._holds(path, data):
                raise

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return bytes(self._store.get(path).bytes()) == data
        except FileNotFoundError:
            return False

    def _failed(self, what: str, error: Exception) -> ReceiverError:
        why = str(error).partition("\n")[0].partition(", after ")[0]
        return ReceiverError(f"{self._where}: cannot {what}: {why}")


def _reached(place: ObjectPlace) -> S3Store:
    secret = place.endpoint is None or place.endpoint.startswith("https://")
    options: dict[str, Any] = {"region": place.region, "virtual_hosted_style_request": place.bucket_in_host}
    if place.endpoint is not None:
        options["endpoint"] = place.endpoint
    if place.credentials is not None:
        options |= _credentials(Path(place.credentials))
    return S3Store(
        place.bucket,
        prefix=place.prefix,
        client_options={"allow_http": not secret, "connect_timeout": CONNECT_TIMEOUT, "timeout": REQUEST_TIMEOUT},
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
        disable_bulk_delete=True,
        **options,
    )


def _credentials(path: Path) -> dict[str, str]:
    """Read the keys; no message holds any of the file."""
    try:
        text = read_private_file(path, what="the object store's keys").decode()
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        part = parser["default"]
        return {"access_key_id": part["aws_access_key_id"], "secret_access_key": part["aws_secret_access_key"]}
    except KeyFileError as error:
        raise ReceiverError(str(error)) from error
    except (UnicodeDecodeError, configparser.Error, KeyError):
        needed = "aws_access_key_id and aws_secret_access_key"
        raise ReceiverError(f"{path}: a part [default] with {needed} is needed") from None


__all__ = ["ObjectBodies", "ObjectPlace", "load_place"]
