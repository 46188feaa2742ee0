"""The key by which the services of one installation know each other.

They sign with it for whom they call (`vouching.py`). Services on one machine share it as a file in the data folder.
"""

import secrets
from contextlib import suppress
from pathlib import Path

from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.ownership import write_private

SHORTEST = 32
"""The least number of characters of a key."""

_FILE = "service.key"


def new_key() -> str:
    """A random key."""
    return secrets.token_hex(SHORTEST)


def is_usable(key: str) -> bool:
    """Whether a text can be a key: at least 32 printable ASCII characters without spaces."""
    return len(key) >= SHORTEST and key.isascii() and key.isprintable() and " " not in key


def shared_key(folder: Path) -> str:
    """The key in the file `service.key` of a folder. The first process that asks makes it, readable by its user only.

    Raises ConfigurationInvalid if the file can't be used.
    """
    file = folder / _FILE
    try:
        if not file.exists():
            with suppress(FileExistsError):  # another process has created it first
                write_private(file, new_key())
        key = file.read_text(encoding="utf-8").strip()
        others = file.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid([f"{file}: the key of the services can't be read or written: {error}"]) from error
    if others:
        raise ConfigurationInvalid(
            [f"{file}: other users can read or change the key of the services; run `chmod 600 {file}`"]
        )
    if not is_usable(key):
        raise ConfigurationInvalid(
            [f"{file}: holds no key of {SHORTEST} or more characters; delete it, and the next start makes a new one"]
        )
    return key
