"""Where an evaluation is logged: the run, the folder of its files, and what stands before the names of its metrics."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelry._sdk.transport import process
from modelry.errors import ModelryError

if TYPE_CHECKING:
    from modelry._sdk.evaluating.options import Options
    from modelry._sdk.fluent.active_run import ActiveRun

_TAG = "modelry.evaluation."
_COUNT = "example_count"
"""Each evaluation has this metric, so that it tells which prefixes a run has evaluations of."""


class Taken(process.Turn):
    """The names and the prefixes of the evaluations that this process has put into each run."""

    def __init__(self) -> None:
        super().__init__()
        self.by_run: weakref.WeakKeyDictionary[Any, tuple[set[str], set[str]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an evaluation is logged. `is_ours` says whether the run was started for it. Nothing else is written here.

    `label` is the name of the evaluation in this run: `holdout`, then `holdout-2`.
    """

    run: ActiveRun
    label: str
    prefix: str
    is_ours: bool

    @property
    def folder(self) -> str:
        """The folder of its files."""
        return f"evaluations/{self.label}"

    @property
    def tag(self) -> str:
        """The tag that says what was evaluated."""
        return f"{_TAG}{self.label}"


def place_for(options: Options) -> Place:
    """A place that no other evaluation has.

    It is in the active run if this process has started that, so that no other process puts an evaluation into it at the
    same time. It is in a child of the active run if another process has started that, or if the run has an evaluation
    whose metrics have the same names; and in a run of its own if none is active. Raises what `start_run` raises.
    """
    from modelry._sdk.fluent import functions, session

    name, prefix = options.name, options.metric_prefix
    active = functions.active_run()
    if active is not None and session.current().has_started(active.run_id):
        inside = prefix if prefix is not None else "" if name == "default" else f"{name}."
        if (label := _claimed(active, name, inside)) is not None:
            return Place(active, label, inside, is_ours=False)
    run = functions.start_run(run_name=f"evaluation-{name}", nested=active is not None)
    return Place(run, name, prefix or "", is_ours=True)


def _claimed(run: ActiveRun, name: str, prefix: str) -> str | None:
    """The label of a further evaluation in this run, None if its metrics would replace those of another one."""
    known = _known(run)
    if known is None:
        return None
    taken = process.current().part(Taken)
    with taken.lock:
        labels, prefixes = taken.by_run.setdefault(run, (set(), set()))
        if prefix in prefixes or f"{prefix}{_COUNT}" in known:
            return None
        label = _free(name, {*labels, *(key.removeprefix(_TAG) for key in known if key.startswith(_TAG))})
        labels.add(label)
        prefixes.add(prefix)
    return label


def _free(name: str, taken: Collection[str]) -> str:
    label, number = name, 1
    while label in taken:
        number += 1
        label = f"{name}-{number}"
    return label


def _known(run: ActiveRun) -> set[str] | None:
    """The metrics and tags that the server has of the run. None if it can't say and the run is not of this process."""
    of_this_process: set[str] | None = set() if run.is_new else None
    if not run.files.is_online():
        return of_this_process
    try:
        found = run.client.runs.get(run.run_id)
    except ModelryError:
        return of_this_process
    return {*found.metrics, *found.tags}
