"""What was not recorded: warned of once for each kind and key, and counted. And what a refusal is about."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable

from modelry._sdk.transport import retries
from modelry.errors import ModelryError

log = logging.getLogger("modelry")

_KEYS_TOLD_APART = 20
_OTHERS = "others"
_OF_THE_RUN = {
    "RUN_NOT_FOUND",
    "RUN_DELETED",
    "EXPERIMENT_NOT_FOUND",
    "EXPERIMENT_DELETED",
    "WORKSPACE_NOT_FOUND",
    "OWNER_NOT_FOUND",
}
_PLACES = {"run_id", "parent_run_id", "experiment_id", "workspace"}


def is_of_the_run(error: ModelryError) -> bool:
    """Whether a server refuses a run as a whole, and not a metric, a param, a tag or a file of it.

    Such as a run that is deleted or not there, or whose experiment or workspace is, or an id that can't be one. Then
    nothing of the run can be recorded now, and nothing may be dropped: the cause can be removed.
    """
    if not retries.is_refusal(error):
        return False
    return error.reason in _OF_THE_RUN or any(path.rpartition(".")[2] in _PLACES for path in error.fields)


def is_of_all(error: ModelryError, paths: Iterable[str]) -> bool:
    """Whether a server refuses each file of an upload: it names the owner, or what all paths are at or below."""
    named = error.metadata.get("path")
    if named is None:
        return "owner" in error.metadata
    return all(path == named or path.startswith(f"{named}/") for path in paths)


class Refusals:
    """Warns of what was not recorded, without flooding the log."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may warn while its thread does
        self._counts: dict[str, Counter[str]] = {}
        self.total = 0
        """How many things were not recorded."""

    def warn(self, kind: str, key: str, text: str, count: int = 1, *, all_keys: bool = False) -> None:
        """Warns of the first refusal of each kind and key, and counts the later ones.

        `count` is how many things were refused, such as points of a metric. The first 20 keys of each kind are counted
        separately, the others together; with `all_keys` every key is.
        """
        with self._lock:
            counts = self._counts.setdefault(kind, Counter())
            name = key if key in counts or all_keys or len(counts) < _KEYS_TOLD_APART else _OTHERS
            known = counts[name] > 0
            counts[name] += count
            self.total += count
        if known:
            log.debug("not recorded: %s", text)
        else:
            log.warning("not recorded: %s (later cases like this are counted, not shown)", text)

    def summarize(self) -> None:
        """Warns once more of each kind with refusals that were counted but not shown."""
        with self._lock:
            counted = [(kind, dict(counts)) for kind, counts in self._counts.items()]
        for kind, counts in counted:
            if sum(counts.values()) > len(counts) or _OTHERS in counts:
                told = ", ".join(f"{key} {count} time{'s' * (count > 1)}".strip() for key, count in counts.items())
                log.warning("not recorded in total, %s: %s", kind, told)
