"""A fleet's files in a temporary folder."""

from __future__ import annotations

from pathlib import Path

FLEET = """
state_dir = "/var/lib/plateseal/state"
[seal]
keyring = "/etc/plateseal/keyring.cose"
owner_key = "/etc/plateseal/owner.pub"
signing_key = "credential:signing.key"
[spool]
directory = "/var/lib/plateseal/spool"
[upload]
url = "https://reads.example:8443"
ca = "/etc/plateseal/ca.pem"
certificate = "/etc/plateseal/tls.pem"
key = "credential:tls.key"
receiver_key = "/etc/plateseal/receipt.pub"
[bundle]
incoming = "/var/lib/plateseal/incoming/unit.bundle"
"""


def write_fleet(root: Path, *, sites: int, cameras: int, fleet: str = FLEET) -> Path:
    """Write a fleet of `sites` sites and `cameras` cameras, and return its folder."""
    (root / "sites").mkdir(parents=True)
    (root / "cameras").mkdir()
    (root / "fleet.toml").write_text(fleet)
    for number in range(sites):
        (root / "sites" / f"site-{number}.toml").write_text(
            f"position = [{48 + number / 10}, 11.5]\n[upload]\nmax_bytes_per_s = {50_000 + number}\n"
        )
    for number in range(cameras):
        (root / "cameras" / f"camera-{number}.toml").write_text(
            f'site = "site-{number % sites}"\n[source]\nuri = "rtsp://192.0.{number // 250}.{number % 250}/stream"\n'
            'credential = "credential:camera.login"\n[vision]\nmin_votes = 3\n'
        )
    return root
