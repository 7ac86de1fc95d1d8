"""The commands that mend a unit's keys, certificates and way to its receiver, as the doctor prints them.

Owns: their words. A word in capitals is for whoever reads it to fill in: RECEIVER and OWNER are the folders of those
two, FILE is this unit's configuration. Leaves to others: which fault needs which (`parts`, `files`, `delivery`), and
what every command says of a missing file (`agent.unit.process.unit_files`).
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from agent.config.models import UnitConfig
from agent.health.assess import SET_CLOCK
from agent.unit.process.unit_files import enrol, new_identity

ROTATE: Final = (
    "bring the key that belongs to the certificate; if it is lost: plateseal device rotate --config FILE; at the "
    "receiver: plateseal receiver enrol RECEIVER rotation.cose; bring its tls.pem here and end the rotation: "
    "plateseal device rotate --config FILE --certificate tls.pem"
)
_NO_NAME: Final = "[Errno -"
"""How errors of getaddrinfo(3) begin."""
_RENEW: Final = "at the receiver: plateseal receiver renew RECEIVER"
CLOCK: Final = f"timedatectl; set the clock right: {SET_CLOCK}"


def let_in(unit: UnitConfig) -> str:
    """Say how a unit gets in that the receiver knows and does not let in, or does not know."""
    return f"{enrol(unit)}; if that says that the key was revoked: {new_identity(unit)}"


def bring_receipt_key(unit: UnitConfig) -> str:
    """Say where the receiver's public receipt key belongs."""
    return f"bring receipt.pub from the receiver to {unit.upload.receiver_key}"


def bring_ca(unit: UnitConfig) -> str:
    """Say where the receiver's CA belongs."""
    return f"bring ca.pem from the receiver to {unit.upload.ca}"


def for_cause(unit: UnitConfig, cause: str) -> str:
    """Return what mends a failure on the way to the receiver, by the words in which upload tells it."""
    place = urlsplit(unit.upload.url)
    host, port = place.hostname or "", place.port or 443
    by_cause = (
        (
            "the connection ends without a word",
            f"the receiver's log says why; {try_tls(unit)}; on a slow line a longer upload.connect_timeout_s; if the "
            f"receiver is of an earlier version: {enrol(unit)}",
        ),
        ("refuses this unit's certificate", enrol(unit)),
        ("the receiver's certificate has expired", f"{CLOCK}; if it is right, {_RENEW}"),
        ("the receiver's certificate is not valid yet", f"{CLOCK}; if it is right, {_RENEW}"),
        (
            "the receiver's certificate is for another",
            f"correct upload.url; or {_RENEW} --host {host}, with --host again for each other name that units use",
        ),
        (
            "the receiver's certificate is by another CA",
            f"{bring_ca(unit)}; at a receiver with a CA of your own: put the certificates between into server.pem, "
            f"behind its own; {try_tls(unit)}",
        ),
        ("something answers in its place", f"log in to the portal, or take the proxy away, before {host}"),
        ("speaks no TLS", f"correct upload.url: its port is {port}, and the receiver's is another one"),
        (_NO_NAME, f"getent hosts {host}; correct upload.url, or this unit's name server"),
        (
            "Connection refused",
            f"correct upload.url, or at the receiver: systemctl start plateseal-receiver; its port must be {port}",
        ),
    )
    return next((mend for words, mend in by_cause if words in cause), try_tls(unit))


def try_disk(directory: Path) -> str:
    """Say what to look at, and to try, where a disk takes no writes."""
    return f"findmnt -T {directory}; dmesg | tail; mount -o remount,rw {directory}; replace a disk that does it again"


def try_tls(unit: UnitConfig) -> str:
    """Return the command that tells whether the receiver is there and is the pinned one."""
    place = urlsplit(unit.upload.url)
    host = place.hostname or ""
    try:
        option = f"-verify_ip {ip_address(host)}"
    except ValueError:
        option = f"-verify_hostname {host}"
    return (
        f"openssl s_client -connect {place.netloc if place.port else f'{place.netloc}:443'} {option} "
        f"-verify_return_error -CAfile {unit.upload.ca} </dev/null says whether the receiver is there and is the "
        "pinned one"
    )
