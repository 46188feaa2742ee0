"""The key by which the services of one installation know each other.

They sign with it for whom they call (`vouching.py`). Services on one machine share it as a file in the data folder.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from modelry_server.kernel.config import ConfigurationInvalid

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
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            _write(file)
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


def _write(file: Path) -> None:
    """Creates the file with a random key in one step. If another process created it first, that file is kept."""
    made = file.with_name(f"{_FILE}.{secrets.token_hex(8)}")
    try:
        with open(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as opened:
            opened.write(new_key())
            opened.flush()
            os.fsync(opened.fileno())
        with suppress(FileExistsError):
            os.link(made, file)
    finally:
        made.unlink(missing_ok=True)
