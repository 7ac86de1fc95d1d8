"""`device rotate`: a new signing key and a new TLS key, without stopping capture or upload.

```
signing.key        the signing key; replaced in one step by the new one
tls.key            the TLS key
tls.pem            its certificate: where upload takes it from, in this folder or another one
tls.pem.next       the new certificate beside it, from when it was given until both files have their place
signing.key.next   the new signing key, until it has taken its place
tls.key.next       the new TLS key, until its certificate is there and a later run gives it its place
rotation.cose      the statement for the receiver: the old key vouches for the new one; there while a rotation runs
```

Owns: the steps and their order. Leaves to others: the statement's layout (`agent.wire.rotation`), what the receiver
does with it, and the daemons that notice the new files.

The steps: new keys durable, statement durable, new signing key renamed over the old one and the old one's bytes
overwritten, `tls.csr` and `enrolment.json` made anew. From then on capture signs with the new key; the receiver puts
those envelopes off until it has been given the statement, and nothing is lost meanwhile. The TLS key stays, because the
new one has no certificate yet. When that arrives, the next run of this command writes it beside the old one, gives the
key its final name, overwrites the old one, gives the certificate its place, and ends the rotation. At each of these
steps there is a pair that fits, and upload takes it; a certificate that is put into its place by hand, too.

Invariant: after a crash between any two steps the identity works, and a run of the same command goes on from there. The
old signing key is never gone before the statement that it signed is durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.disk import durable
from agent.errors import FormatError, KeyFileError, VerificationError
from agent.keys import keyfiles
from agent.keys.identity import (
    ENROLMENT_NAME,
    NEXT_SUFFIX,
    SIGNING_KEY_NAME,
    TLS_CERTIFICATE_NAME,
    TLS_KEY_NAME,
    TLS_REQUEST_NAME,
    certificate_request,
    check_device_name,
    encode_enrolment,
)
from agent.wire import cose
from agent.wire.rotation import MAX_ROTATION_BYTES, Rotation, encode_rotation, parse_rotation

ROTATION_NAME: Final = "rotation.cose"


class RotationState(StrEnum):
    """How far a rotation has come."""

    BEGUN = "begun"
    """This run made the new signing key the device's; the statement is to be carried to the receiver."""
    WAITING = "waiting"
    """An earlier run did, and the certificate for the new TLS key is not there yet."""
    FINISHED = "finished"
    """The certificate is there: this run gave the new TLS key its place. Nothing is left of the rotation."""


@dataclass(frozen=True, slots=True)
class RotationStep:
    """What one run of `rotate_identity` did.

    Attributes:
        state: How far the rotation has come.
        name: The device's name.
        key_id: 32 bytes, id of the signing key in use now.
        old_key_id: 32 bytes, id of the key before it; None once the rotation is finished.
        directory: Where the identity is.
    """

    state: RotationState
    name: str
    key_id: bytes
    old_key_id: bytes | None
    directory: Path

    @property
    def statement(self) -> Path:
        """The file to carry to the receiver, until the rotation is finished."""
        return self.directory / ROTATION_NAME


def rotate_identity(directory: Path, *, place: Path | None = None, given: Path | None = None) -> RotationStep:
    """Begin a rotation, or go on with the one that is there.

    Args:
        directory: A device's identity, as `create_identity` made it.
        place: Where upload takes the certificate from; `tls.pem` in the identity if left out.
        given: The new certificate, wherever it was brought to; it is put into its place with the key. If left out, it
            is looked for in its place and in the identity.

    Raises:
        KeyFileError: No whole identity is there, a file of a rotation is damaged or missing, or the disk refused. What
            worked before still works.
    """
    name = _device_name(directory)
    has_new_tls_key = _settle_tls_key(directory, place or directory / TLS_CERTIFICATE_NAME, given)
    statement = _load_statement(directory)
    if statement is None and not has_new_tls_key and given is None:  # one that was given again ends nothing anew
        return _begin(directory, name)
    signing_key = keyfiles.load_ed25519_private(directory / SIGNING_KEY_NAME)
    key_id = cose.ed25519_kid(signing_key.public_key())
    if statement is None:
        return RotationStep(RotationState.FINISHED, name, key_id, None, directory)
    if key_id == statement.old_key_id:
        return _take_over(directory, statement)
    if key_id != statement.new_key_id:
        raise KeyFileError(
            f"{directory / ROTATION_NAME}: is about other keys than {SIGNING_KEY_NAME}; remove it and run this again"
        )
    _publish(directory, statement, signing_key)
    if has_new_tls_key or _serves(directory / TLS_KEY_NAME, statement):
        _remove(directory / ROTATION_NAME)
        return RotationStep(RotationState.FINISHED, name, key_id, None, directory)
    if not (directory / _next(TLS_KEY_NAME)).exists():
        raise KeyFileError(
            f"{directory / _next(TLS_KEY_NAME)}: is missing, so the certificate that was asked for is of no use; "
            f"remove {ROTATION_NAME} and run this again"
        )
    return RotationStep(RotationState.WAITING, name, key_id, statement.old_key_id, directory)


def _begin(directory: Path, name: str) -> RotationStep:
    """Make new keys and the statement, and take the new signing key into use."""
    old_key = keyfiles.load_ed25519_private(directory / SIGNING_KEY_NAME)
    for leftover in (SIGNING_KEY_NAME, TLS_KEY_NAME):  # of a run that was cut off before its statement
        _erase(directory / _next(leftover))
    new_key, tls_key = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    signing_path, tls_path = directory / SIGNING_KEY_NAME, directory / TLS_KEY_NAME
    keyfiles.write_private_beside(signing_path, directory / _next(SIGNING_KEY_NAME), new_key)
    keyfiles.write_private_beside(tls_path, directory / _next(TLS_KEY_NAME), tls_key)
    csr_der = certificate_request(tls_key, name).public_bytes(Encoding.DER)
    statement = encode_rotation(device=name, old_key=old_key, new_key=new_key, csr_der=csr_der)
    keyfiles.replace_file(directory / ROTATION_NAME, statement, keyfiles.PUBLIC_MODE)
    return _take_over(directory, parse_rotation(statement))


def _take_over(directory: Path, statement: Rotation) -> RotationStep:
    """Put the new signing key in the old one's place. The statement is durable."""
    path = directory / _next(SIGNING_KEY_NAME)
    new_key = keyfiles.load_ed25519_private(path)
    if cose.ed25519_kid(new_key.public_key()) != statement.new_key_id:
        raise KeyFileError(f"{path}: is not the key that {ROTATION_NAME} is about; remove both and run this again")
    _replace_secret(path, directory / SIGNING_KEY_NAME)
    _publish(directory, statement, new_key)
    return RotationStep(RotationState.BEGUN, statement.device, statement.new_key_id, statement.old_key_id, directory)


def _publish(directory: Path, statement: Rotation, signing_key: Ed25519PrivateKey) -> None:
    """Make the public files say what the new keys are; they also serve to enrol anew, should the receiver be lost."""
    request = x509.load_der_x509_csr(statement.csr_der)
    wanted = {
        TLS_REQUEST_NAME: request.public_bytes(Encoding.PEM),
        ENROLMENT_NAME: encode_enrolment(statement.device, signing_key, request),
    }
    for name, content in wanted.items():
        if keyfiles.read_public_file(directory / name) != content:
            keyfiles.replace_file(directory / name, content, keyfiles.PUBLIC_MODE)


def _settle_tls_key(directory: Path, place: Path, given: Path | None) -> bool:
    """Give `tls.key.next` and its certificate their places if that is there. Returns whether it was."""
    key_path, following = directory / TLS_KEY_NAME, directory / _next(TLS_KEY_NAME)
    staged = place.with_name(_next(place.name))
    _stage(given, following if following.exists() else key_path, staged)
    beside = directory / TLS_CERTIFICATE_NAME
    if given is None and beside != place and following.exists() and _belongs(beside, following):
        _stage(beside, following, staged)
    has_new = following.exists() and (_belongs(staged, following) or _belongs(place, following))
    if has_new:
        _replace_secret(following, key_path)
    if _belongs(staged, key_path):
        _rename(staged, place)
    return has_new


def _stage(given: Path | None, key: Path, staged: Path) -> None:
    """Write a certificate that was brought beside the one in use.

    Raises:
        KeyFileError: It is none, or another key's; or the disk refused.
    """
    if given is None:
        return
    if not _belongs(given, key):
        raise KeyFileError(f"{given}: is not there, or is the certificate of another key than {key.name}")
    keyfiles.replace_file(staged, keyfiles.read_public_file(given), keyfiles.PUBLIC_MODE)


def _belongs(certificate: Path, key: Path) -> bool:
    """Whether a certificate is there and is that of a private key.

    Raises:
        KeyFileError: It is there and is none, or the key cannot be used.
    """
    if not certificate.exists():
        return False
    try:
        found = x509.load_pem_x509_certificate(keyfiles.read_public_file(certificate)).public_key()
    except ValueError:
        raise KeyFileError(f"{certificate}: not a PEM certificate") from None
    return found == keyfiles.load_p256_private(key).public_key()


def _serves(path: Path, statement: Rotation) -> bool:
    """Whether a TLS key is the one that the statement asks a certificate for."""
    return keyfiles.load_p256_private(path).public_key() == x509.load_der_x509_csr(statement.csr_der).public_key()


def _device_name(directory: Path) -> str:
    """Return the name that the identity was made with."""
    if not (directory / ENROLMENT_NAME).exists():
        raise KeyFileError(f"{directory}: holds no whole device identity; make one with: plateseal device init")
    path = directory / TLS_REQUEST_NAME
    try:
        subject = x509.load_pem_x509_csr(keyfiles.read_public_file(path)).subject
    except ValueError:
        raise KeyFileError(f"{path}: not a PEM certificate request (PKCS#10)") from None
    names = [str(part.value) for part in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1:
        raise KeyFileError(f"{path}: names no device")
    return check_device_name(names[0])


def _load_statement(directory: Path) -> Rotation | None:
    path = directory / ROTATION_NAME
    if not path.exists():
        return None
    try:
        return parse_rotation(keyfiles.read_public_file(path, max_bytes=MAX_ROTATION_BYTES))
    except (FormatError, VerificationError) as error:
        raise KeyFileError(f"{path}: {error}; remove it and run this again") from None


def _replace_secret(path: Path, target: Path) -> None:
    """Put `path` in the place of `target`, and overwrite what was there."""
    try:
        durable.replace_secret(path, target)
    except OSError as error:
        raise KeyFileError(f"{target}: cannot be replaced: {error.strerror}") from None


def _rename(path: Path, target: Path) -> None:
    try:
        durable.rename_durably(path, target)
    except OSError as error:
        raise KeyFileError(f"{target}: cannot be replaced: {error.strerror}") from None


def _erase(path: Path) -> None:
    """Overwrite and remove a secret; one that is not there is fine."""
    try:
        durable.erase_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be erased: {error.strerror}") from None


def _remove(path: Path) -> None:
    try:
        durable.remove_file(path)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be removed: {error.strerror}") from None


def _next(name: str) -> str:
    return name + NEXT_SUFFIX
