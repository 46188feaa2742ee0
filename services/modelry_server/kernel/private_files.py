"""Files with secrets, which only the user of the server can read."""

import os
import tempfile
from pathlib import Path


def write_once(file: Path, text: str) -> None:
    """Writes a file that only this user can read, and makes its folder.

    The file is there whole or not at all, and replaces none. Raises FileExistsError and other OSErrors.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # mode 0600, O_EXCL
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as made:
            made.write(text)
            made.flush()
            os.fsync(made.fileno())
        os.link(name, file)
    finally:
        os.unlink(name)
