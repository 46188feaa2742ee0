"""Where a role holds: the whole installation, a workspace, or an experiment or a model in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import Lifecycle
from modelry.api.access import v1 as access
from modelry.errors import ExperimentDeleted, ExperimentNotFound, InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.nouns.experiments import Experiment, Experiments
    from modelry._sdk.nouns.models import Models


@dataclass(frozen=True, slots=True)
class Place:
    """Where a role holds, and in all that lies there.

    Without a workspace it is the whole installation. At most one of `experiment_id` and `model_id` is set; without
    both it is the whole workspace.
    """

    workspace: str
    experiment_id: str = ""
    model_id: str = ""


Tracked = Callable[[str], "tuple[Experiments, Models]"]
"""The experiments and the models of a workspace, which say the ids of names."""


class Places:
    """Finds the place that arguments name. `workspace` is the one that is meant where none is named."""

    def __init__(self, workspace: str, inside: Tracked) -> None:
        self._workspace = workspace
        self._inside = inside

    def named(
        self, *, workspace: str | None, experiment: str | int, model: str, everywhere: bool, is_new: bool = False
    ) -> access.Place:
        """The place that arguments name: everything only if they say so. `is_new`: for a role that is to hold there.

        Raises InvalidArgument if they name two places, ExperimentNotFound and ModelNotFound, and for a new role
        ExperimentDeleted.
        """
        arguments.text("workspace", workspace or "")
        arguments.text("model", model)
        experiment = arguments.id_text("experiment", experiment)
        if arguments.flag("everywhere", everywhere):
            if workspace or experiment or model:
                raise InvalidArgument("everywhere is the whole installation, so give no workspace, experiment or model")
            return access.Place(everywhere=True)
        if experiment and model:
            raise InvalidArgument("a role is bound at an experiment or at a model; give one of them, and bind it twice")
        place = access.Place(workspace=workspace or self._workspace)
        if experiment:
            found = self._experiment(place.workspace, experiment)
            if is_new and found.lifecycle == Lifecycle.DELETED:
                problem = f"the experiment {found.name!r} ({found.experiment_id}) is deleted; restore it first"
                raise ExperimentDeleted(problem, metadata={"experiment_id": found.experiment_id})
            place.experiment_id = found.experiment_id
        elif model:
            place.model_id = self._inside(place.workspace)[1].get(model).model_id
        return place

    def _experiment(self, workspace: str, given: str) -> Experiment:
        """The experiment of a workspace with this id, or else with this name. Raises ExperimentNotFound."""
        experiments = self._inside(workspace)[0]
        elsewhere = ""
        if arguments.is_experiment_id(given):
            try:
                found = experiments.get(given)
            except ExperimentNotFound:
                pass
            else:
                if found.workspace == workspace:
                    return found
                elsewhere = found.workspace
        try:
            return experiments.get_by_name(given)
        except ExperimentNotFound as missing:
            if elsewhere:
                problem = f"the experiment {given} is in the workspace {elsewhere!r} and not in {workspace!r}"
                raise ExperimentNotFound(problem, metadata=missing.metadata) from None
            raise


def place_of(message: access.Place) -> Place:
    """The place that a message holds."""
    return Place(message.workspace, message.experiment_id, message.model_id)
