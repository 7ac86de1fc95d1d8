"""systemd credentials: paths that a configuration writes as `credential:NAME`.

Owns: the prefix, which names are allowed, and where they lie. systemd gives each service a folder of its own, which
only that service's user and root can enter, and names it in the environment (systemd.exec(5), "Credentials"). That
variable is where systemd says it, so it is read here and nowhere else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from agent.errors import ConfigError

CREDENTIAL_PREFIX: Final = "credential:"
DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
"""A file name (NAME_MAX is 255 bytes) that is neither hidden nor a way out of the folder."""


def credentials_directory() -> Path | None:
    """Return the folder of this service's credentials, or None where systemd has given it none."""
    name = os.environ.get(DIRECTORY_VARIABLE, "")
    return Path(name) if os.path.isabs(name) else None  # noqa: PTH117  the text itself must be absolute


def is_credential(text: str) -> bool:
    """Whether a path of the configuration is written as a credential."""
    return text.startswith(CREDENTIAL_PREFIX)


def credential_name(text: str) -> str:
    """Return NAME of `credential:NAME`.

    Raises:
        ConfigError: The name is none.
    """
    name = text.removeprefix(CREDENTIAL_PREFIX)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{text[:80]!r}: after {CREDENTIAL_PREFIX} a name of letters, digits, '.', '_', '-' is needed"
        )
    return name


def resolve_credential(text: str) -> Path:
    """Return the file that `credential:NAME` stands for.

    Raises:
        ConfigError: The name is none, or this process has been given no credentials.
    """
    name = credential_name(text)
    directory = credentials_directory()
    if directory is None:
        raise ConfigError(
            f"{text}: {DIRECTORY_VARIABLE} is not set to a folder; credentials are there only in a service that "
            f"systemd started with LoadCredential={name} or LoadCredentialEncrypted={name}"
        )
    return directory / name
