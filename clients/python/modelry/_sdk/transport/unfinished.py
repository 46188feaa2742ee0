"""What this process still does for runs in the background, and who must wait for it: who reads a run, or writes files.

So what a program does has the effect that its order says. The floors that read and write are below the one that works
in the background, which therefore registers here. It does not wait for itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Background(Protocol):
    """Work in the background for runs."""

    def before_reading(self, run_id: str | None, path: str | None) -> None:
        """Waits until what was given before is done; see the function."""

    def before_writing(self, run_id: str, paths: Collection[str]) -> None:
        """Waits until what was given before is done; see the function."""


_registered: list[Background] = []


def register(background: Background) -> None:
    """Has readers and writers wait for it from now on."""
    _registered.append(background)


def before_reading(run_id: str | None = None, path: str | None = None) -> None:
    """Waits until a run can be read with what this process has given to it before. None: what it does for any run.

    With a `path` its files at, above and below the path can be read, also those that are uploaded behind the training,
    else its records.
    """
    for each in _registered:
        each.before_reading(run_id, path)


def before_writing(run_id: str, paths: Collection[str]) -> None:
    """Waits until nothing else that was given before writes a file of a run at, above or below one of the paths."""
    for each in _registered:
        each.before_writing(run_id, paths)
