"""Stages: names under a policy. Nothing else in the registry knows the name of a stage."""

from collections.abc import Collection
from dataclasses import dataclass

from modelry_server.kernel.requests.fields import Fields, shown
from modelry_server.permissions import Permission


@dataclass(frozen=True, slots=True)
class StagePolicy:
    """The stages that the versions of a model can be in, in order.

    `serving` are the stages that somebody relies on: their versions can't be deleted. New versions are in the stage
    `first`. Versions that are replaced move to the stage `archive`.
    """

    stages: tuple[str, ...]
    serving: tuple[str, ...]
    first: str
    archive: str

    def __post_init__(self) -> None:
        unknown = {*self.serving, self.first, self.archive} - {*self.stages}
        if unknown or len({stage.lower() for stage in self.stages}) != len(self.stages):
            raise ValueError(f"{self} names a stage that it does not have, or one twice")
        if {self.first, self.archive} & {*self.serving}:
            raise ValueError(f"{self}: the first stage and the archive can't be serving stages")

    def permission(self, present: str, target: str) -> Permission:
        """What is needed to move a version from its present stage to another one, also to one that does not exist.

        The last serving stage is the one that counts: to get there, and to be taken from there to another stage that
        is not the archive or the first one.
        """
        if target in (self.archive, self.first):
            return Permission.VERSIONS_ARCHIVE
        if self.serving and self.serving[-1] in (present, target):
            return Permission.VERSIONS_PROMOTE
        return Permission.VERSIONS_STAGE

    def judge(self, fields: Fields, path: str, stage: str) -> None:
        """A stage that the policy has. Upper and lower case differ."""
        if stage not in self.stages:
            problem = f"{shown(stage)} is not a stage of this model" if stage else "is required"
            fields.refuse(path, f"{problem}; use one of {_listed(self.stages)}")

    def judge_archiving(self, fields: Fields, path: str, stage: str) -> None:
        """A stage whose other versions can be archived: one that serves."""
        if stage in self.stages and stage not in self.serving:
            problem = f"{stage} is not a serving stage, so its other versions can't be archived"
            fields.refuse(path, f"{problem}; use it with {_listed(self.serving)}, or leave it out")

    def ordered(self, stages: Collection[str]) -> tuple[str, ...]:
        """The given stages in the order of the policy, each once; all stages if none are given."""
        return tuple(stage for stage in self.stages if not stages or stage in stages)


DEFAULT = StagePolicy(
    stages=("None", "Staging", "Production", "Archived"),
    serving=("Staging", "Production"),
    first="None",
    archive="Archived",
)
"""The policy of models that have no other."""


def policy_of(workspace: str, model_id: str) -> StagePolicy:
    """The policy of a model. All models have the default policy for now; callers must not rely on that."""
    return DEFAULT


def known_in(workspace: str) -> tuple[str, ...]:
    """The stages that a version of a workspace can be in, whichever its model."""
    return DEFAULT.stages


def _listed(stages: Collection[str]) -> str:
    return ", ".join(map(repr, stages))
