"""The files of a version are never lost, and never kept for nothing."""

import grpc
import pytest

from modelry.internal.artifacts import v1 as artifacts
from modelry_server.kernel.errors import ServiceUnavailable
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.registry.clients import Artifacts
from modelry_server.registry.domain.snapshots import AGAIN_MS, LOOSE_MS, Snapshots
from modelry_server.registry.domain.sources import Origin
from modelry_server.registry.entities import RunFiles, SnapshotTarget
from modelry_server.registry.errors import SourceEmpty, VersionInFlight
from tests.contract.registry.conftest import Platform
from tests.parts.deployment import Deployment
from tests.parts.refusal import refused
from tests.server.registry.conftest import SOURCE, Registry

MODEL_ID = "0" * 32


def are_kept(platform: Platform, version_id: str) -> bool:
    """Whether artifacts still holds the files of a version."""
    request = artifacts.GetSnapshotRequest(version_id=version_id)
    try:
        return bool(platform.snapshots.GetSnapshot(request).snapshot.file_count)
    except grpc.RpcError:
        assert refused(platform.snapshots.GetSnapshot, request).reason == "SNAPSHOT_NOT_FOUND"
        return False


def freeze(registry: Registry, platform: Platform, version_id: str = "", path: str = "model") -> str:
    """Freezes the files of a new run for a version, and gives the version's id."""
    target = SnapshotTarget(version_id or new_id(), "default", MODEL_ID)
    origin = registry.sources.origin("default", RunFiles(platform.a_run(), path))
    registry.snapshots.freeze(target, origin)
    return target.version_id


def test_files_that_no_version_claims_are_let_go_after_an_hour(connected: Registry, platform: Platform) -> None:
    version_id = freeze(connected, platform)

    connected.snapshots.sweep()
    assert are_kept(platform, version_id)
    connected.clock.advance(LOOSE_MS)
    connected.snapshots.sweep()

    assert not are_kept(platform, version_id)


def test_files_that_a_version_claimed_are_kept(connected: Registry, platform: Platform) -> None:
    version_id = freeze(connected, platform)
    with connected.db.write() as tx:
        connected.snapshots.claim(tx, version_id)

    connected.clock.advance(LOOSE_MS)
    connected.snapshots.sweep()
    connected.snapshots.give_up(version_id)

    assert are_kept(platform, version_id)


def test_files_of_a_version_that_was_not_made_are_let_go(connected: Registry, platform: Platform) -> None:
    version_id = freeze(connected, platform)

    connected.snapshots.give_up(version_id)

    assert not are_kept(platform, version_id)


def test_an_empty_source_leaves_nothing_to_let_go(connected: Registry, platform: Platform) -> None:
    version_id = new_id()

    with pytest.raises(SourceEmpty):
        freeze(connected, platform, version_id, path="nothing")

    with connected.db.write() as tx, pytest.raises(VersionInFlight):
        connected.snapshots.claim(tx, version_id)


def test_without_artifacts_files_wait_to_be_let_go(connected: Registry, platform: Platform) -> None:
    version_id = freeze(connected, platform)
    alone = Registry(connected.db, clock=connected.clock)

    alone.snapshots.give_up(version_id)
    assert are_kept(platform, version_id)
    with connected.db.write() as tx, pytest.raises(VersionInFlight):
        connected.snapshots.claim(tx, version_id)
    with pytest.raises(VersionInFlight):
        freeze(connected, platform, version_id)
    connected.snapshots.sweep()

    assert not are_kept(platform, version_id)
    assert freeze(connected, platform, version_id)
    alone.close()


def test_without_artifacts_nothing_is_frozen(registry: Registry) -> None:
    with pytest.raises(ServiceUnavailable) as refusal:
        registry.snapshots.freeze(
            SnapshotTarget(new_id(), "default", MODEL_ID),
            Origin(SOURCE, new_id(), lambda asked, target: asked.of_version(target, new_id())),
        )

    assert refusal.value.metadata["service"] == "artifacts"


def test_artifacts_has_as_long_as_any_call_for_many_files_unless_somebody_waits_for_their_end(
    connected: Registry, deployment: Deployment, platform: Platform
) -> None:
    address = deployment.internal_address("artifacts")
    impatient = Neighbour("artifacts", address, key=deployment.service_key, longest_s=0.0, call_s=20.0)
    snapshots = Snapshots(connected.db, Artifacts(impatient), connected.clock)
    target = SnapshotTarget(new_id(), "default", MODEL_ID)
    origin = connected.sources.origin("default", RunFiles(platform.a_run(), "model"))

    assert snapshots.freeze(target, origin).file_count
    connected.clock.advance(LOOSE_MS)
    snapshots.sweep_after_a_change()
    assert are_kept(platform, target.version_id)
    connected.clock.advance(AGAIN_MS)
    snapshots.sweep()
    impatient.close()

    assert not are_kept(platform, target.version_id)
