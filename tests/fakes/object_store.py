"""An S3-compatible object store on loopback: moto's, and what some stores do otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
import tomli_w
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from agent.receiver.stores.objects import ObjectPlace

BUCKET = "bodies"

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@contextmanager
def object_store(change: Callable[[Wsgi], Wsgi] = lambda app: app) -> Iterator[ObjectPlace]:
    """Run a store with one empty bucket, which behaves as `change` makes it; yield how it is reached."""
    app = change(DomainDispatcherApplication(create_backend_app))
    with make_server("127.0.0.1", 0, app, threaded=True) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{server.server_port}"
            httpx.delete(f"{endpoint}/{BUCKET}").close()
            httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()
            httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
            yield ObjectPlace(bucket=BUCKET, endpoint=endpoint)
        finally:
            server.shutdown()
            thread.join()


def place_file(folder: Path, place: ObjectPlace) -> Path:
    """Write down how a store is reached, with keys and a prefix of its own; return the file."""
    keys = folder / "object-keys"
    keys.write_text("[default]\naws_access_key_id = who\naws_secret_access_key = very-secret\n")
    keys.chmod(0o600)
    path = folder / "objects.toml"
    text = {"bucket": place.bucket, "endpoint": place.endpoint, "prefix": uuid4().hex, "credentials": str(keys)}
    path.write_text(tomli_w.dumps(text))
    return path


def without_conditions(app: Wsgi) -> Wsgi:
    """Overwrite whatever a client asks to create only, as some stores do."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return app(environ, start)

    return answer


def with_conflicts(app: Wsgi) -> Wsgi:
    """Answer each first try to create with a conflict and store nothing, as S3 does when two try at once."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" in environ:
            start("409 Conflict", [("Content-Length", "0")])
            return [b""]
        return app(environ, start)

    return answer
