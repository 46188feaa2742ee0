"""What the registry asks of other services. Never inside a transaction."""

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Believed, Neighbour
from modelry_server.registry.entities import Files, SnapshotTarget, SourceRun
from modelry_server.registry.errors import SourceEmpty, VersionIdNotFound

_ALWAYS_THERE = "default"
_FIELDS_OF_RUN = ("run_id", "workspace", "lifecycle")


class Workspaces:
    """Asks access whether workspaces exist, and for their quotas."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(access.WorkspaceServiceStub)
        self._there = Believed(self._get)
        self._most = Believed(self._most_allowed)

    def require(self, name: str) -> None:
        """Does nothing if the workspace exists. Raises WORKSPACE_NOT_FOUND or SERVICE_UNAVAILABLE."""
        if name != _ALWAYS_THERE:
            self._there.require(name)

    def most_versions(self, name: str) -> int | None:
        """How many versions a workspace may have; None: no limit.

        What was heard last counts if access does not answer now. Where nothing was heard yet there is no limit.
        """
        return self._most.latest(name, None)

    def _get(self, name: str) -> access.Workspace:
        request = access.GetWorkspaceRequest(name=name)
        answer: access.GetWorkspaceResponse = self._neighbour.call(self._stub.GetWorkspace, request)
        return answer.workspace

    def _most_allowed(self, name: str) -> int | None:
        try:
            quotas = self._get(name).quotas
        except NotFound:
            return None
        return quotas.version_count if quotas.HasField("version_count") else None


class Runs:
    """Asks tracking about runs, on behalf of the caller."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(tracking.RunServiceStub)

    def get(self, run_id: str) -> SourceRun:
        """What the registry needs to know of a run. Raises RUN_NOT_FOUND or SERVICE_UNAVAILABLE."""
        request = tracking.GetRunRequest(run_id=run_id)
        request.read_mask.paths.extend(_FIELDS_OF_RUN)
        run = self._neighbour.call(self._stub.GetRun, request).run
        return SourceRun(run.run_id, run.workspace, is_deleted=run.lifecycle == common.LIFECYCLE_DELETED)


class Artifacts:
    """Asks artifacts to freeze files for versions."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(internal.SnapshotServiceStub)

    def of_run(self, target: SnapshotTarget, run_id: str, path: str) -> Files:
        """Freezes the files of a run at a path for a version. The same again changes nothing.

        Raises SourceEmpty, PATH_INVALID, SERVICE_UNAVAILABLE.
        """
        try:
            return self._create(target, artifacts.ArtifactOwner(run_id=run_id), path)
        except NotFound as error:
            if error.reason == "ARTIFACT_NOT_FOUND":
                raise SourceEmpty(run_id, path) from error
            raise

    def of_version(self, target: SnapshotTarget, version_id: str) -> Files:
        """Freezes the files of another version for a version.

        Raises VersionIdNotFound if the other version has been deleted meanwhile, SERVICE_UNAVAILABLE.
        """
        try:
            return self._create(target, artifacts.ArtifactOwner(version_id=version_id), "")
        except NotFound as error:
            raise VersionIdNotFound(version_id) from error

    def _create(self, target: SnapshotTarget, owner: artifacts.ArtifactOwner, path: str) -> Files:
        request = internal.CreateSnapshotRequest(
            version_id=target.version_id,
            workspace=target.workspace,
            model_id=target.model_id,
            source_owner=owner,
            source_path=path,
        )
        snapshot = self._neighbour.call(self._stub.CreateSnapshot, request, is_long=True).snapshot
        return Files(snapshot.manifest_sha256, snapshot.file_count, snapshot.size_bytes)

    def delete(self, version_id: str, *, is_long: bool = False) -> None:
        """Lets the files of a version go. The same again changes nothing. Raises SERVICE_UNAVAILABLE.

        `is_long` gives it the time that many files need; without it no caller waits long for a service that hangs.
        """
        request = internal.DeleteSnapshotRequest(version_id=version_id)
        self._neighbour.call(self._stub.DeleteSnapshot, request, is_long=is_long)
