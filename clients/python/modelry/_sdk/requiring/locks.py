"""The lock files of the project that a model is saved from: copies of them go with the model, without credentials."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from modelry._sdk.requiring import toml

FILES = ("uv.lock", "poetry.lock", "pyproject.toml")
LARGEST_BYTES = 8 * 2**20
"""A lock file that is larger is left out. That of a large project has about 1 MiB."""

log = logging.getLogger("modelry")


def keep(folder: str | os.PathLike[str]) -> None:
    """Copies the lock files of the project in the working directory into the folder of a model.

    The project is the nearest folder with a `pyproject.toml`, at or above the working directory and inside of its
    repository. Passwords and tokens in the copies are masked. What can't be copied, or can't be read as TOML to be
    masked, is left out, and told in the log.
    """
    try:
        project = _project(Path.cwd())
    except OSError:  # the working directory was deleted
        return
    for name in FILES if project else ():
        source = Path(project or "", name)
        try:
            if not source.is_file():
                continue
            if source.stat().st_size > LARGEST_BYTES:
                log.warning("%s is larger than %d bytes, so it does not go with the model", source, LARGEST_BYTES)
                continue
            text = source.read_bytes().decode()
            Path(folder, name).write_bytes(toml.masked(text).encode())
        except (OSError, ValueError) as problem:
            Path(folder, name).unlink(missing_ok=True)
            log.warning("%s does not go with the model: %s", source, problem)


def _project(begin: Path) -> Path | None:
    for folder in (begin, *begin.parents):
        if (folder / "pyproject.toml").is_file():
            return folder
        if (folder / ".git").exists():
            return None
    return None
