"""What was not recorded: warned of once for each run, kind, key and reason, and counted. What refusals are about."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterable

from modelry._sdk.transport import retries
from modelry.errors import ModelryError

log = logging.getLogger("modelry")

_KEYS_TOLD_APART = 20
_KEYS_NAMED = 3
_REASONS_TOLD = 5
_REASON_KEPT = 300
_NUMBER = re.compile(r"[-+]?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_KEY_SHOWN = 60
_OTHERS = "others"
_OF_THE_RUN = {
    "RUN_NOT_FOUND",
    "RUN_DELETED",
    "EXPERIMENT_NOT_FOUND",
    "EXPERIMENT_DELETED",
    "WORKSPACE_NOT_FOUND",
    "OWNER_NOT_FOUND",
    "QUOTA_EXCEEDED",
}
_PLACES = {"run_id", "parent_run_id", "experiment_id", "workspace"}


def is_of_the_run(error: ModelryError) -> bool:
    """Whether a server refuses a run as a whole, and not a metric, a param, a tag or a file of it.

    Such as a run that is deleted or not there, or whose experiment or workspace is, an id that can't be one, or a
    workspace that is at its quota. Then nothing of the run, or no file of it, can be recorded now, and nothing may be
    dropped: the cause can be removed.
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
    """Warns of what was not recorded, without flooding the log. Each kind of each run has an allowance of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may warn while its thread does
        self._groups: dict[tuple[str, str], _Group] = {}
        self.total = 0
        """How many things were not recorded."""

    def warn(self, kind: str, key: str, text: str, count: int = 1, *, run_id: str = "", all_keys: bool = False) -> None:
        """Warns of the first refusal of each kind, key and reason of a run, and counts the later ones.

        The reason is the `text` without its numbers; 5 are told of each key. `count` is how many things were refused,
        such as points of a metric. The first 20 keys are told apart, the others are counted together, and so are keys
        about which the same `text` would be said; with `all_keys` every key is told.
        """
        with self._lock:
            group = self._groups.setdefault((run_id, kind), _Group())
            told = group.add(key, text, count, all_keys=all_keys)
            self.total += count
        of_run = f"run {run_id}; " if run_id else ""
        if told:
            log.warning("not recorded: %s (%slater cases like this are counted, not shown)", told, of_run)
        else:
            log.debug("not recorded: %s", text)

    def summarize(self, run_id: str | None = None) -> None:
        """Says how much was counted and not shown, of one run or of everything, and forgets it."""
        with self._lock:
            over = [group for group in self._groups if run_id in (None, group[0])]
            groups = [(*group, self._groups.pop(group)) for group in over]
        for run, kind, group in groups:
            if group.hidden:
                of_run = f" of run {run}" if run else ""
                log.warning("not recorded in total, %s%s: %s", kind, of_run, group.summary)


class _Group:
    """What was not recorded of one kind and run."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._texts: set[str] = set()
        self._reasons: dict[str, set[str]] = {}
        self.hidden = 0
        """How many things were counted and not shown."""

    def add(self, key: str, text: str, count: int, *, all_keys: bool) -> str:
        """Counts a refusal. Answers with what to say of it, or with nothing if it was said."""
        is_known = key in self._counts
        is_full = len(self._counts) >= _KEYS_TOLD_APART and not (is_known or all_keys)
        name = _OTHERS if is_full else key
        is_first = name not in self._counts
        self._counts[name] += count
        is_new = self._is_new_reason(name, text.replace(key, "") if key else text)
        if is_first and is_full:
            known = ", ".join(map(_short, list(self._counts)[:_KEYS_NAMED]))
            text = f"more than {_KEYS_TOLD_APART}, such as {known}: {text}"
        if not is_new or text in self._texts:
            self.hidden += count
            return ""
        if not all_keys:
            self._texts.add(text)
        return text if is_full or not key or key in text else f"{_short(key)}: {text}"

    def _is_new_reason(self, name: str, text: str) -> bool:
        """Whether this was not said of a key before, apart from numbers, and few other reasons were."""
        known = self._reasons.setdefault(name, set())
        reason = _NUMBER.sub("0", text)[:_REASON_KEPT]
        if reason in known or len(known) >= _REASONS_TOLD:
            return False
        known.add(reason)
        return True

    @property
    def summary(self) -> str:
        """How often each key was refused."""
        return ", ".join(
            f"{_short(key)} {count} time{'s' * (count > 1)}".strip() for key, count in self._counts.items()
        )


def _short(key: str) -> str:
    return key if len(key) <= _KEY_SHOWN else f"{key[:_KEY_SHOWN]}…"
