"""What a version is made from: judged, found, and frozen. Other services are asked here, never in a transaction."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import Permission
from modelry_server.registry.clients import Artifacts, Runs
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.entities import (
    Files,
    Flavor,
    RunFiles,
    Signature,
    SnapshotTarget,
    Source,
    Version,
    VersionCopy,
)
from modelry_server.registry.errors import RunDeleted, VersionNotFound
from modelry_server.registry.store import versions


@dataclass(frozen=True, slots=True)
class Origin:
    """A source that was found: its run, what a copy inherits, and how its files are frozen for a version.

    `source` is the given one, with the id of a copied version.
    """

    source: Source
    run_id: str
    freeze: Callable[[Artifacts, SnapshotTarget], Files]
    signature: Signature | None = None
    flavors: tuple[Flavor, ...] = ()


def judge(fields: Fields, source: Source | None) -> None:
    """A source: files of a run, or another version. Artifacts judges the path of the files."""
    match source:
        case None:
            fields.refuse("source", "is required: a run or a version")
        case RunFiles():
            fields.id("source.run.run_id", source.run_id)
        case VersionCopy():
            if not source.model_name:
                fields.refuse("source.version.model_name", "is required")
            if source.version_number <= 0:
                problem = f"{source.version_number} is not a version number; use 1 or more"
                fields.refuse("source.version.version_number", problem)


class Sources:
    """Finds sources for the current caller."""

    def __init__(self, db: Database, lookup: Lookup, runs: Runs) -> None:
        self._db = db
        self._lookup = lookup
        self._runs = runs

    def origin(self, workspace: str, source: Source) -> Origin:
        """Finds a source, which must be in the workspace.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, RunDeleted; what tracking says of the run.
        """
        if isinstance(source, VersionCopy):
            return self._copied(source, self._version(workspace, source))
        run = self._runs.get(source.run_id)
        if run.workspace != workspace:
            problem = f"there is no run {run.run_id} in the workspace {workspace!r}, which is that of the model"
            raise FieldInvalid({"source.run.run_id": problem}, run_id=run.run_id, workspace=workspace)
        if run.is_deleted:
            raise RunDeleted(run.run_id)

        def freeze(artifacts: Artifacts, target: SnapshotTarget) -> Files:
            return artifacts.of_run(target, run.run_id, source.path)

        return Origin(source, run.run_id, freeze)

    def _version(self, workspace: str, source: VersionCopy) -> Version:
        with self._db.read() as tx:
            needed = (Permission.MODELS_READ, Permission.FILES_READ)
            model_id = self._lookup.model_id(tx, workspace, source.model_name, *needed)
            version = versions.find(tx, model_id, source.version_number)
        if version is None:
            raise VersionNotFound(source.model_name, source.version_number)
        return version

    def _copied(self, source: VersionCopy, version: Version) -> Origin:
        def freeze(artifacts: Artifacts, target: SnapshotTarget) -> Files:
            return artifacts.of_version(target, version.version_id)

        found = replace(source, version_id=version.version_id)
        return Origin(found, version.run_id, freeze, signature=version.signature, flavors=version.flavors)
