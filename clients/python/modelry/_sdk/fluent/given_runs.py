"""The run that a caller gives a callback: one that was started, one that was read, or an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.nouns import arguments

if TYPE_CHECKING:
    from modelry._sdk.fluent.active_run import ActiveRun


def checked(given: Any) -> ActiveRun | str | None:
    """An ActiveRun as it is, else the id of the run. None stays None.

    Takes an ActiveRun, a `modelry.Run`, or the id of a run. Raises InvalidArgument for anything else. No server is
    asked.
    """
    from modelry._sdk.fluent.active_run import ActiveRun
    from modelry._sdk.nouns.runs import Run

    if given is None or isinstance(given, ActiveRun):
        return given
    run_id = given.run_id if isinstance(given, Run) else given
    if isinstance(run_id, str) and arguments.is_run_id(run_id):
        return run_id
    raise arguments.refused("run", given, f"a run, as of modelry.start_run, or {arguments.RUN_ID_FORM}")


def opened(given: ActiveRun | str | None) -> ActiveRun | None:
    """What `checked` gave, as a run to log to. That of an id is the active one, if it is that, and is not continued."""
    from modelry._sdk.fluent import session
    from modelry._sdk.fluent.active_run import ActiveRun

    if not isinstance(given, str):
        return given
    here = session.current()
    active = here.active()
    if active is not None and active.run_id == given:
        return active
    return ActiveRun(here.client(), given, experiment_id="", name="", online=True)
