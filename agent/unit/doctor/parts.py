"""The doctor's look at the unit's own parts: files, keys, keyring, sealing, spool, models, cameras.

Owns: what is tried. It is tried with the very code that the daemons use, so what the doctor says holds for them. Leaves
to others: the way to the receiver (`delivery`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import __version__
from agent.capture import LiveHooks, open_source
from agent.config.contradictions import DEVICES
from agent.config.models import CameraConfig, UnitConfig, is_file_uri
from agent.disk.files import LocalFiles
from agent.errors import (
    ConfigError,
    KeyFileError,
    PlatesealError,
    SourceError,
    SourceRefusedError,
    SpoolError,
    SpoolMissingError,
    VerificationError,
)
from agent.health.assess import LOGIN_REFUSED, assess_camera, assess_config, assess_set_aside
from agent.keys.keyfiles import (
    PublicKey,
    load_ed25519_private,
    load_ed25519_public,
    load_p256_private,
    read_private_file,
    read_public_file,
)
from agent.keys.keyring import KeyringBook
from agent.ports import Disk
from agent.records import ClockState, Plaintext
from agent.seal.chain import Chain
from agent.seal.cipher import choose_cipher
from agent.seal.sealer import Sealer
from agent.spool.reader import SpoolReader
from agent.unit.doctor.delivery import examine_delivery
from agent.unit.doctor.files import keyring, permissions, read_only
from agent.unit.doctor.finding import Finding, Outcome, of_health
from agent.unit.doctor.mends import try_disk
from agent.unit.doctor.sample_keys import is_sample
from agent.unit.process.clock import SystemClock
from agent.unit.process.unit_files import new_identity, told
from agent.unit.status.report import read_health
from agent.vision import build_vision
from agent.wire.envelope import parse_envelope, verify_envelope
from agent.wire.health import CameraHealth
from agent.wire.plaintext import Direction

CAMERA_WITHIN_S: Final = 15.0
"""A camera that gives no picture for so long will not."""
SPOOL_TEST_BYTES: Final = 1 << 16


def examine_parts(unit: UnitConfig) -> Iterator[Finding]:
    """Look at the unit's parts, those that take longest last."""
    yield from permissions(unit)
    yield from examine_way(unit)
    yield from examine_vision(unit)


def examine_way(unit: UnitConfig) -> Iterator[Finding]:
    """Look at the way of a read from its sealing to the receiver."""
    yield keyring(unit)
    yield sealing(unit)
    yield from spool(unit)
    yield from configuration(unit)
    yield from sample_keys(unit)
    yield from examine_delivery(unit)


def examine_vision(unit: UnitConfig) -> Iterator[Finding]:
    """Look at models and cameras."""
    yield models(unit)
    yield from same_devices(unit)
    for camera in unit.cameras:
        yield look_through(camera, unit)


def sample_keys(unit: UnitConfig) -> Iterator[Finding]:
    """Whether a key is one that everybody knows."""
    files = (unit.seal.signing_key, unit.upload.key, unit.seal.owner_key, unit.upload.receiver_key, unit.upload.ca)
    keys = [(path, key) for path in files if (key := _public_half(path)) is not None]
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    known = [str(path) for path, key in keys if is_sample(key.public_bytes(*form))]
    if not keys:
        yield Finding("sample keys", Outcome.SKIPPED, "no key can be read")
    elif not known:
        yield Finding("sample keys", Outcome.GOOD, "none")
    for name in known:
        yield Finding(
            "sample keys",
            Outcome.FAULT,
            f"{name} is a key from a test or a document",
            "everybody can sign with it",
            _other_keys(unit, Path(name)),
        )


def sealing(unit: UnitConfig) -> Finding:
    """Whether a read can be sealed: one is, with the unit's own key, to the owner's keys of now; nobody keeps it."""
    check, why = "sealing", "capture could seal nothing"
    try:
        book = KeyringBook.load(unit.seal.keyring, load_ed25519_public(unit.seal.owner_key))
        key = load_ed25519_private(unit.seal.signing_key)
        sealer = Sealer(signing_key=key, book=book, cipher=choose_cipher(unit.seal.cipher))
        read = _sample_read(datetime.now(UTC))
        sealed = sealer.seal(read, Chain().next)
        verify_envelope(parse_envelope(sealed.data), key.public_key())
    except (KeyFileError, VerificationError) as error:
        return Finding(check, Outcome.SKIPPED, f"not tried, as is told above: {error}")
    except PlatesealError as error:
        return Finding(check, Outcome.FAULT, str(error), why, "bring a new keyring.cose from the owner")
    names = ", ".join(each.recipient for each in book.recipients_at(read.captured_at, read.clock))
    return Finding(check, Outcome.GOOD, f"a sample was sealed to {names}")


def spool(unit: UnitConfig, files: Disk | None = None) -> Iterator[Finding]:
    """Whether the spool's disk (`files` for tests) writes, syncs and erases; and whether reads were set aside there."""
    directory, files = unit.spool.directory, files or LocalFiles()
    if not directory.is_dir():
        yield Finding("spool", Outcome.SKIPPED, f"{directory} is not there yet")
        return
    path = directory / f".doctor-{os.getpid()}"
    stuck = read_only(unit)
    if stuck is not None:
        yield stuck
        return
    try:
        files.create(path, bytes(SPOOL_TEST_BYTES))
        files.sync_dir(directory)
        files.overwrite(path)
        files.unlink(path)
        files.sync_dir(directory)
    except SpoolError as error:
        why = "no read can be accepted; a memory card that dies turns read-only first"
        yield Finding("spool", Outcome.FAULT, str(error), why, try_disk(directory))
    else:
        yield Finding("spool", Outcome.GOOD, "a file was written, synced and erased")
    try:
        aside = list(SpoolReader(directory, files).set_aside())
    except SpoolMissingError:
        return  # nothing was ever put there
    except SpoolError as error:
        yield Finding("set aside", Outcome.SKIPPED, str(error))
        return
    found = assess_set_aside(len(aside))
    if found is not None:
        newest = max(aside, key=lambda each: each.status.modified_at)
        yield of_health(found, more=f", the newest: {newest.reason or 'no reason is noted'}")


def configuration(unit: UnitConfig) -> Iterator[Finding]:
    """Whether the last configuration that came was taken."""
    for each in read_health(unit).configs:
        refused = assess_config(each)
        if refused is None:
            in_use = f"serial {each.serial}" if each.serial else "the unit's own file"
            yield Finding(f"{each.daemon} config", Outcome.GOOD, in_use)
        else:
            yield of_health(refused, more=f": {each.rejected}")


def models(unit: UnitConfig) -> Finding:
    """Whether the models are those of the manifest and load."""
    try:
        for camera in unit.cameras:
            build_vision(camera.vision)
    except ConfigError as error:
        mend = f"plateseal config plates --formats {camera.vision.plate_formats}, until it lists them"
        return Finding("plate formats", Outcome.FAULT, str(error), "capture does not start", mend)
    except PlatesealError as error:
        return Finding("models", Outcome.FAULT, str(error), "without models no plate is read", _get_models(unit))
    return Finding("models", Outcome.GOOD, "the manifest's, and they load")


def same_devices(unit: UnitConfig) -> Iterator[Finding]:
    """Whether two cameras are one device by two names, which only this machine knows."""
    seen: dict[Path, str] = {}
    for camera in unit.cameras:
        uri = camera.source.uri
        if not uri.startswith(DEVICES):
            continue
        device = Path(uri).resolve()
        if device in seen:
            check, what = f"camera {camera.camera_id}", f"{uri} is the device of camera {seen[device]} too, {device}"
            why = "only one of the two gets pictures"
            yield Finding(check, Outcome.FAULT, what, why, "ls -l /dev/v4l/by-id; correct source.uri of one of them")
        seen.setdefault(device, camera.camera_id)


def look_through(camera: CameraConfig, unit: UnitConfig) -> Finding:
    """Whether a camera delivers: as capture says while it runs, else by taking a picture."""
    health = read_health(unit)
    said = next((each for each in health.cameras if each.name == camera.camera_id), None)
    if health.capture_up:
        return _as_capture_says(camera, said)
    check = f"camera {camera.camera_id}"
    try:
        size_wh = _take_picture(camera)
    except KeyFileError as error:
        what, mend = told(unit, error, f"chmod 600 {camera.source.credential}; USER:PASSWORD is what it holds")
        return Finding(check, Outcome.FAULT, what, "without its login the camera gives nothing", mend)
    except PlatesealError as error:
        help_ = LOGIN_REFUSED if isinstance(error, SourceRefusedError) else _camera_help(camera)
        return Finding(check, Outcome.FAULT, str(error), *help_)
    return Finding(check, Outcome.GOOD, f"delivers {size_wh[0]}x{size_wh[1]}")


def _as_capture_says(camera: CameraConfig, said: CameraHealth | None) -> Finding:
    check = f"camera {camera.camera_id}"
    if said is None or said.is_up is None:
        return Finding(check, Outcome.GOOD, "capture plays the recording")
    found = None if said.is_up else assess_camera(said)
    if found is None:  # a late one is told by `running`
        return Finding(check, Outcome.GOOD, "delivers, says capture")
    why, mend = (found.why, found.mend) if said.refuses_login else _camera_help(camera)
    return Finding(check, Outcome.FAULT, f"{found.words}, says capture", why, mend)


def _take_picture(camera: CameraConfig) -> tuple[int, int]:
    """Return the width and height of one frame.

    Raises:
        SourceError, KeyFileError: None came.
    """
    stop = threading.Event()
    source = camera.source.model_copy(update={"reconnect": False})
    login = None if source.credential is None else read_private_file(source.credential, what="a camera's login")
    timer = threading.Timer(CAMERA_WITHIN_S, stop.set)
    with closing(
        open_source(
            source, camera_id=camera.camera_id, clock=SystemClock(), credential=login, hooks=LiveHooks(stop=stop)
        )
    ) as opened:
        timer.start()
        try:
            frame = next(iter(opened.frames()), None)
        finally:
            timer.cancel()
    if frame is None:
        raise SourceError(f"no picture within {CAMERA_WITHIN_S:g} s")
    return frame.wh


def _camera_help(camera: CameraConfig) -> tuple[str, str]:
    uri = camera.source.uri
    why = "no read comes from it"
    if uri.startswith("/dev/"):
        listing = f"ls -l {uri}; v4l2-ctl --list-devices says which source.uri is right"
        return why, f"{listing}; the service's user needs the group of the device (video)"
    if is_file_uri(uri):
        return why, f"ls -l {uri}; correct source.uri, or bring the file back"
    if_silent = "look at its cable, its power, and its address in source.uri if nothing answers"
    return why, f"{if_silent}, else at what it says; docs/CAMERAS.md explains each answer"


def _get_models(unit: UnitConfig) -> str:
    own = "" if unit.vision.models is None else f" --models {unit.vision.models}"
    builtin = "" if unit.vision.models is None else "; the built-in ones are taken if you leave vision.models out"
    return f"plateseal models list{own}; plateseal models verify{own}; plateseal models fetch NAME{builtin}"


def _other_keys(unit: UnitConfig, known: Path) -> str:
    if known in (unit.seal.signing_key, unit.upload.key):
        return new_identity(unit)
    if known == unit.seal.owner_key:
        return "the owner makes new keys: plateseal custody keys --dir OWNER"
    return "make a new receiver: plateseal receiver init DIR"


def _public_half(path: Path) -> PublicKey | None:
    """Return the public key of a key or certificate file; None where another check says what is wrong with it."""
    for load in (load_ed25519_private, load_p256_private):
        try:
            return load(path).public_key()
        except PlatesealError:
            continue
    try:
        return load_ed25519_public(path)
    except PlatesealError:
        pass
    try:
        return x509.load_pem_x509_certificate(read_public_file(path)).public_key()  # type: ignore[return-value]
    except (PlatesealError, ValueError):
        return None


def _sample_read(now: datetime) -> Plaintext:
    return Plaintext(
        camera="doctor",
        captured_at=now,
        clock=ClockState.UNSYNCHRONIZED,
        text="",
        confidences=(),
        votes=(0, 0),
        region=None,
        detector_confidence=0,
        box=(0, 0, 0, 0),
        frame_sequence=0,
        frame_wh=(1, 1),
        first_seen=now,
        last_seen=now,
        direction=Direction.UNKNOWN,
        crop=b"",
        detector_digest=bytes(32),
        reader_digest=bytes(32),
        agent_version=__version__,
    )
