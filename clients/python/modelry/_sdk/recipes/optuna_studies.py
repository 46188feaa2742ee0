"""Optuna: a callback that logs a study as a run, and its trials as child runs of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelry._sdk.autologging import fits
from modelry._sdk.autologging.params import text_of_value
from modelry._sdk.autologging.quietly import quietly
from modelry._sdk.transport import process
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import RunDeleted, RunNotFound

if TYPE_CHECKING:
    from modelry._sdk.fluent.active_run import ActiveRun
    from modelry._sdk.nouns.enums import RunStatus
    from modelry._sdk.nouns.runs import Run

log = logging.getLogger("modelry")

RUN_ID = "modelry.run_id"
"""The attribute of a study that has the id of its run."""
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""The status of the run of a trial, by the state of the trial."""
_MOST_TOLD = 100


class ModelryCallback:
    """Logs a study of Optuna as a run and each trial as a child run: `study.optimize(…, callbacks=[callback])`.

    The run of the study is `run` (a run, or the id of one), else the one that the study has had before, else the active
    run, else a new one.
    Its id is kept in the study's attribute `modelry.run_id`, so a study that is continued, also by another process,
    goes on in the same run. A run that was started or continued here ends with the block of
    `with ModelryCallback() as callback:`, by `end`, or with the process. The block also logs the trial whose error
    ended the optimization, of which Optuna does not tell its callbacks, and the run is FAILED then.

    A trial has its params, its values as `value` (`value_0`, `value_1` and so on, or the study's metric names, if it
    has several), its reports as the series `intermediate_value` by step, its attributes and distributions as tags,
    and a status: FINISHED, KILLED if it was pruned, or FAILED. The run of the study has `best_value` by the number of
    the trial, and the tags of the best one. Several jobs (`n_jobs`) may share the callback. It raises nothing into
    the optimization, and tells each problem once. Raises InvalidArgument for a `run` that is none.
    """

    def __init__(self, run: ActiveRun | Run | str | None = None) -> None:
        from modelry._sdk.fluent import given_runs

        self._given = given_runs.checked(run)
        self._told: set[str] = set()
        self._studies: dict[int, _Study] = {}
        self._made = datetime.now(UTC)
        self._lock = threading.RLock()

    def __call__(self, study: Any, trial: Any) -> None:
        """Logs a trial that is over. Optuna calls it."""
        _attempt("a trial was", lambda: self._of(study).log(trial), self._told)

    def __enter__(self) -> ModelryCallback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from modelry._sdk.fluent.ending import ended_after

        ended = ended_after(error)
        self._end(ended.status, ended.tags)

    def end(self, status: RunStatus | str = "FINISHED") -> None:
        """Ends the runs of studies that were started or continued here. A later trial continues them."""
        self._end(status, {})

    def _end(self, status: RunStatus | str, exit_tags: Mapping[str, str]) -> None:
        with self._lock:
            studies, self._studies = list(self._studies.values()), {}
        process.current().part(_Open).callbacks.discard(self)
        for each in studies:
            _attempt("the end of a study was", lambda each=each: each.end(status, exit_tags))  # type: ignore[misc]

    def _of(self, study: Any) -> _Study:
        with self._lock:
            found = self._studies.get(id(study))
            if found is None:
                found = self._studies[id(study)] = _Study(study, *_run_of(study, self._given), since=self._made)
                process.current().prepare_exit()
                process.current().part(_Open).callbacks.add(self)
            return found


class _Open(process.Part):
    """The callbacks whose runs end with the process, unless they end before."""

    def __init__(self) -> None:
        self.callbacks: set[ModelryCallback] = set()

    def at_exit(self) -> None:
        """Ends them."""
        for each in list(self.callbacks):
            each.end()

    def after_fork_in_child(self) -> None:
        """Leaves them to the parent."""
        self.callbacks.clear()


class _Study:
    """A study, and the run that it is logged to."""

    def __init__(self, study: Any, run: ActiveRun, is_ours: bool, *, since: datetime) -> None:
        self._study = study
        self._run = run
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self._logged: set[int] = set()
        self._since = since
        self._best: int | None = None
        directions = [each.name for each in study.directions]
        self._is_single = len(directions) == 1
        self._names = list(study.metric_names or []) or (
            ["value"] if self._is_single else [f"value_{index}" for index in range(len(directions))]
        )
        tags = {"optuna.study_name": study.study_name, "optuna.sampler": type(study.sampler).__name__}
        run.set_tags({**tags, "optuna.pruner": type(study.pruner).__name__})
        run.log_param("direction" if self._is_single else "directions", ", ".join(directions).lower())

    def log(self, trial: Any) -> None:
        """Logs a trial that is over, once."""
        with self._lock:
            if trial.number in self._logged:
                return
            self._logged.add(trial.number)
        run = self._started(trial)
        run.log_params({key: text_of_value(value) for key, value in trial.params.items()})
        for step, value in trial.intermediate_values.items():
            run.log_metric("intermediate_value", float(value), step=step)
        if trial.state.name == "COMPLETE":
            run.log_metrics(dict(zip(self._names, trial.values, strict=True)))
        run.end_soon(_STATUS[trial.state.name])
        if trial.state.name == "COMPLETE" and self._is_single:
            self._log_best(trial, run.run_id)

    def end(self, status: RunStatus | str, exit_tags: Mapping[str, str]) -> None:
        """Logs the trials that Optuna did not tell of, and ends the run if it was started or continued here."""
        for trial in self._study.get_trials(deepcopy=False):
            begun = trial.datetime_start
            if trial.state.name == "FAIL" and begun and begun.astimezone(UTC) >= self._since:
                self.log(trial)
        if self._is_ours:
            self._run.end_soon(status, exit_tags)

    def _started(self, trial: Any) -> ActiveRun:
        from modelry._sdk.fluent import starting

        tags = {"optuna.trial_number": trial.number, "optuna.trial_state": trial.state.name}
        tags |= {f"optuna.distribution.{key}": text_of_value(value) for key, value in trial.distributions.items()}
        tags |= {text_of(key): text_of_value(value) for key, value in trial.user_attrs.items()}
        return starting.start(
            self._run.client,
            starting.ExperimentChoice(self._run.experiment_id),
            name=f"trial {trial.number}",
            parent_run_id=self._run.run_id,
            tags=tags,
            began=trial.datetime_start,
        )

    def _log_best(self, trial: Any, run_id: str) -> None:
        """Says in the run of the study what the best trial is, if it is another one now."""
        best = self._study.best_trial
        with self._lock:
            if best.number != trial.number or best.number == self._best:
                return
            self._best = best.number
        self._run.log_metric("best_value", float(best.value), step=best.number)
        found = {f"optuna.best_param.{key}": text_of_value(value) for key, value in best.params.items()}
        self._run.set_tags({"optuna.best_trial": best.number, "optuna.best_run_id": run_id, **found})


def _run_of(study: Any, given: ActiveRun | str | None) -> tuple[ActiveRun, bool]:
    """The run of a study, and whether who asks has to end it. The study remembers its id.

    Raises RunNotFound and RunDeleted for a run that was given.
    """
    from modelry._sdk.fluent import session, starting

    here = session.current()
    known = str(study.user_attrs.get(RUN_ID) or "")
    wanted = given if isinstance(given, str) else known
    run, is_ours = (None if isinstance(given, str) else given), False
    if run is None and wanted:
        active = here.active()
        if active is not None and active.run_id == wanted:
            run = active
        else:
            try:
                run, is_ours = starting.resume(here.client(), wanted), True
            except (RunNotFound, RunDeleted):
                if given is not None:
                    raise
                log.warning("the run %s of the study %r is gone; it gets another one", known, study.study_name)
    run = run or here.active()
    if run is None:
        run, is_ours = starting.start(here.client(), here.experiment(), name=study.study_name), True
    if run.run_id != known:
        study.set_user_attr(RUN_ID, run.run_id)
    return run, is_ours


def _attempt(what: str, action: Callable[[], object], told: set[str] | None = None) -> None:
    """Does something, and tells what it raises, unless that is in `told`."""
    try:
        with fits.working(), quietly():
            action()
    except Exception as problem:  # It asks the storage of the study, which may raise anything.
        signals.pass_on(problem)
        said = f"{type(problem).__name__}: {said_of(problem):.300}"
        level = logging.DEBUG if told is not None and said in told else logging.WARNING
        if told is not None and len(told) < _MOST_TOLD:
            told.add(said)
        log.log(level, "optuna: %s not logged: %s", what, said)
