"""A CA that is not plateseal's, as a person makes one with `openssl`: root, intermediate, certificates of any kind."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVER: Final = (
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth",
)
"""What a server's certificate has, as docs/OPERATE.md says."""
CLIENT: Final = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=clientAuth",
)
KEYS: Final = {
    "P-256": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "P-384": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "RSA-2048": ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "RSA-1024": ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
    "P-521": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
}
_CA: Final = ("keyUsage=critical,keyCertSign,cRLSign",)


def openssl(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `openssl` and return what came of it."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@dataclass(frozen=True, slots=True)
class OutsideCa:
    """A root and an intermediate CA in a folder."""

    folder: Path

    @property
    def root(self) -> Path:
        """The root's certificate (PEM)."""
        return self.folder / "root.pem"

    @property
    def intermediate(self) -> Path:
        """The certificate of the CA that issues (PEM), signed by the root."""
        return self.folder / "intermediate.pem"

    def key(self, name: str, kind: str = "P-256") -> Path:
        """Make a private key of a kind of `KEYS`, mode 0600."""
        path = self.folder / f"{name}.key"
        openssl(*KEYS[kind], "-out", path)
        path.chmod(0o600)
        return path

    def certify(
        self,
        request: Path,
        *,
        extensions: tuple[str, ...],
        by: str = "intermediate",
        days: int = 90,
        subject: str = "",
        authority: bool = True,
    ) -> bytes:
        """Return the certificate (PEM) for a request (PKCS#10, PEM), without the CAs above it."""
        ids = (
            "subjectKeyIdentifier=hash",
            *(("authorityKeyIdentifier=keyid",) if authority else ("authorityKeyIdentifier=none",)),
        )
        (self.folder / "ext").write_text("\n".join((*extensions, *ids)) + "\n")
        out = self.folder / "issued.pem"
        issuer = ("-CA", self.folder / f"{by}.pem", "-CAkey", self.folder / f"{by}.key", "-CAcreateserial")
        named = ("-subj", subject) if subject else ()
        openssl("x509", "-req", "-in", request, *issuer, "-days", str(days), "-extfile", self.folder / "ext",
                *named, "-out", out)  # fmt: skip
        return out.read_bytes()

    def server(
        self, name: str = "server", *, kind: str = "P-256", extensions: tuple[str, ...] = SERVER, authority: bool = True
    ) -> tuple[Path, bytes]:
        """Return a new server's key file, and its certificate (PEM) alone."""
        key = self.key(name, kind)
        request = self.folder / f"{name}.csr"
        openssl("req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", request)
        return key, self.certify(request, extensions=extensions, authority=authority)


def make_outside_ca(folder: Path) -> OutsideCa:
    """Make a root and an intermediate CA in a new folder."""
    folder.mkdir()
    made = OutsideCa(folder)
    openssl("req", "-x509", "-new", "-key", made.key("root"), "-subj", "/CN=Example Root", "-days", "3650",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", _CA[0], "-out", made.root)  # fmt: skip
    request = folder / "intermediate.csr"
    openssl(
        "req", "-new", "-key", made.key("intermediate", "P-384"), "-subj", "/CN=Example Issuing CA", "-out", request
    )
    constraints = ("basicConstraints=critical,CA:TRUE,pathlen:0", *_CA)
    made.intermediate.write_bytes(made.certify(request, extensions=constraints, by="root", days=1825))
    return made
