"""What was not recorded: warned of once for each kind and key, and counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter

log = logging.getLogger("modelry")

_KEYS_TOLD_APART = 20
_OTHERS = "others"


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
