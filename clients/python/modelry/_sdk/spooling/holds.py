"""What waits behind something of a run that is left: everything of the run, or what is about the same things.

Points stand beside each other, so their order does not matter. Of two values of a tag the later one must come later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelry._sdk.spooling.numbering import run_of, subjects_of
from modelry._sdk.spooling.queued import QueuedRequest
from modelry.errors import ModelryError


@dataclass(slots=True)
class Hold:
    """Why something of a run is left, and what waits behind it: all of the run, or what is about the subjects."""

    why: ModelryError
    is_whole: bool
    subjects: set[str]


class Holds:
    """What is left of each run."""

    def __init__(self, *known: Holds) -> None:
        self._by_run: dict[str, Hold] = {}
        for holds in known:
            self.update(holds)

    def __bool__(self) -> bool:
        return bool(self._by_run)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._by_run

    @property
    def reasons(self) -> Iterable[ModelryError]:
        """Why something is left, for each run."""
        return [hold.why for hold in self._by_run.values()]

    def add(self, request: QueuedRequest, why: ModelryError, *, is_whole: bool) -> None:
        """Notes that a request is left: what is about the same waits behind it, or all of the run if it `is_whole`."""
        run_id, subjects = run_of(request), subjects_of(request)
        if run_id and (is_whole or subjects):
            self._add(run_id, why, is_whole, subjects)

    def over(self, request: QueuedRequest) -> Hold | None:
        """What the request waits behind, if it does. Then what is about the same as it is waits as well."""
        hold = self._by_run.get(run_of(request)) if self._by_run else None
        if hold is None or hold.is_whole:
            return hold
        subjects = subjects_of(request)
        if hold.subjects.isdisjoint(subjects):
            return None
        hold.subjects |= subjects
        return hold

    def update(self, others: Holds) -> None:
        """Adds what is left as others note it."""
        for run_id, hold in others._by_run.items():
            self._add(run_id, hold.why, hold.is_whole, hold.subjects)

    def clear(self) -> None:
        """Forgets everything."""
        self._by_run.clear()

    def _add(self, run_id: str, why: ModelryError, is_whole: bool, subjects: set[str]) -> None:
        known = self._by_run.setdefault(run_id, Hold(why, is_whole, set()))
        known.subjects |= subjects
        if is_whole and not known.is_whole:
            known.why, known.is_whole = why, True
