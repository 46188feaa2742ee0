"""The packages that are installed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


class Packages:
    """The list of installed packages, made again when something was installed or removed meanwhile."""

    def __init__(self) -> None:
        self._made_from: list[tuple[str, int]] = []
        self._text = ""

    def text(self) -> str:
        """A line `name==version` for each package, sorted by name, as `pip install -r` reads it."""
        found = _folders()
        if found != self._made_from:
            self._text, self._made_from = _listed(), found
        return self._text


def _listed() -> str:
    from importlib import metadata

    versions: dict[str, tuple[str, str]] = {}
    for each in metadata.distributions():
        with suppress(Exception):  # one that is damaged, as by a pip that was stopped
            name, version = each.metadata["Name"], each.version
            if name and version:
                # The first on the path is the one that is imported.
                versions.setdefault(name.lower().replace("_", "-"), (name, version))
    return "".join(f"{name}=={version}\n" for _, (name, version) in sorted(versions.items()))


def _folders() -> list[tuple[str, int]]:
    """The folders of the path with the times of their last changes."""
    found = []
    for folder in sys.path:
        with suppress(OSError):
            found.append((folder, os.stat(folder or ".").st_mtime_ns))
    return found
