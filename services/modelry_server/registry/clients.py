"""What the registry asks of other rooms. Never inside a transaction."""

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Believed, Neighbour
from modelry_server.registry.entities import DEFAULT_WORKSPACE, Files, SourceRun
from modelry_server.registry.errors import SourceEmpty


class Workspaces:
    """Asks access whether a workspace is there."""

    def __init__(self, neighbour: Neighbour) -> None:
        stub = neighbour.stub(access.WorkspaceServiceStub)
        self._there = Believed(lambda name: neighbour.call(stub.GetWorkspace, access.GetWorkspaceRequest(name=name)))

    def require(self, workspace: str) -> None:
        """Does nothing if the workspace is there; `default` always is.

        Raises what access answers: WORKSPACE_NOT_FOUND; ServiceUnavailable.
        """
        if workspace != DEFAULT_WORKSPACE:
            self._there.require(workspace)


class Runs:
    """Asks tracking about runs."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(tracking.RunServiceStub)

    def get(self, run_id: str) -> SourceRun:
        """What the registry needs to know of a run. Raises RUN_NOT_FOUND, ServiceUnavailable."""
        request = tracking.GetRunRequest(run_id=run_id)
        request.read_mask.paths.append("datasets")  # the smallest of what can be asked for: an empty mask asks for all
        run = self._neighbour.call(self._stub.GetRun, request).run
        return SourceRun(run.run_id, run.workspace, is_deleted=run.lifecycle == tracking.LIFECYCLE_DELETED)


class Artifacts:
    """Asks artifacts to freeze files for versions."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(artifacts.SnapshotServiceStub)

    def of_run(self, version_id: str, run_id: str, path: str) -> Files:
        """Freezes the files of a run at a path for a version; again with the same source changes nothing.

        Raises SourceEmpty, PATH_INVALID, ServiceUnavailable.
        """
        try:
            return self._create(version_id, f"runs/{run_id}", path)
        except NotFound as error:
            if error.reason == "ARTIFACT_NOT_FOUND":
                raise SourceEmpty(run_id, path) from error
            raise

    def of_version(self, version_id: str, source_id: str) -> Files:
        """Freezes the files of another version for a version. Raises ServiceUnavailable."""
        return self._create(version_id, f"versions/{source_id}", "")

    def _create(self, version_id: str, source_owner: str, source_path: str) -> Files:
        request = artifacts.CreateSnapshotRequest(
            owner=f"versions/{version_id}", source_owner=source_owner, source_path=source_path
        )
        snapshot = self._neighbour.call(self._stub.CreateSnapshot, request).snapshot
        return Files(snapshot.manifest_sha256, snapshot.file_count, snapshot.size_bytes)

    def delete(self, version_id: str) -> None:
        """Lets the files of a version go; again changes nothing. Raises ServiceUnavailable."""
        request = artifacts.DeleteSnapshotRequest(owner=f"versions/{version_id}")
        self._neighbour.call(self._stub.DeleteSnapshot, request)
