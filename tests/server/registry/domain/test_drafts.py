"""How versions are created, also when something fails halfway."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.kernel.errors import FieldInvalid, ServiceUnavailable
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import KEPT_MS, Request
from modelry_server.kernel.sql.database import ConcurrentChange
from modelry_server.registry.domain import drafts
from modelry_server.registry.domain.drafts import Draft
from modelry_server.registry.domain.snapshots import LOOSE_MS
from modelry_server.registry.entities import Flavor, RunFiles, Signature, SnapshotTarget, Version, VersionCopy
from modelry_server.registry.errors import (
    CreatedVersionDeleted,
    ModelIdNotFound,
    ModelNotFound,
    SourceEmpty,
    VersionIdNotFound,
    VersionInFlight,
)
from modelry_server.registry.store import models as model_rows
from tests.contract.registry.conftest import Platform
from tests.parts.eventually import at_once
from tests.server.registry.conftest import ONCE, Registry
from tests.server.registry.domain.test_snapshots import are_kept


@pytest.fixture
def again() -> Request:
    """A request that may come again, of its own for each test: the neighbours are kept for all."""
    return Request("ada", "modelry.api.registry.v1.CreateVersionRequest", new_id(), "digest-1")


def test_a_retry_after_a_crash_between_files_and_version_uses_the_same_files(
    connected: Registry, platform: Platform, again: Request
) -> None:
    model_id = connected.a_model("fraud").model_id
    source = RunFiles(platform.a_run(), "model")
    with connected.db.read() as tx:
        version_id = drafts.id_for(tx, again, model_id)
    origin = connected.sources.origin("default", source)
    connected.snapshots.freeze(SnapshotTarget(version_id, "default", model_id), origin)

    made = connected.drafts.create("default", "fraud", Draft(source), request=again)

    assert (made.version_id, made.version_number) == (version_id, 1)
    connected.clock.advance(LOOSE_MS)
    connected.snapshots.sweep()
    assert are_kept(platform, version_id)


@pytest.mark.parametrize("swept", [True, False])
def test_a_slower_call_of_the_same_request_does_not_doom_the_files(
    connected: Registry, platform: Platform, again: Request, swept: bool
) -> None:
    connected.a_model("fraud")
    source = RunFiles(platform.a_run(), "model")
    made = connected.drafts.create("default", "fraud", Draft(source), request=again)

    # What a call does that looked before the version was there.
    target = SnapshotTarget(made.version_id, "default", made.model_id)
    connected.snapshots.freeze(target, connected.sources.origin("default", source))
    if swept:
        connected.snapshots.give_up(made.version_id)
        connected.clock.advance(LOOSE_MS)
        connected.snapshots.sweep()

    assert are_kept(platform, made.version_id)
    connected.versions.delete("default", "fraud", made.version_number)
    assert not are_kept(platform, made.version_id)


def test_calls_of_one_request_at_once_make_one_version_that_keeps_its_files(
    connected: Registry, platform: Platform, again: Request
) -> None:
    connected.a_model("fraud")
    source = RunFiles(platform.a_run(), "model")

    answers = at_once([lambda: connected.drafts.create("default", "fraud", Draft(source), request=again)] * 6)
    connected.clock.advance(LOOSE_MS)
    connected.snapshots.sweep()

    made = {answer.version_id for answer in answers if isinstance(answer, Version)}
    assert all(isinstance(answer, Version | VersionInFlight | ConcurrentChange) for answer in answers)
    assert len(made) == 1
    assert are_kept(platform, made.pop())


def test_a_version_that_cannot_be_made_after_its_files_were_frozen_lets_them_go(
    connected: Registry, platform: Platform, again: Request
) -> None:
    model_id = connected.a_model("fraud").model_id
    draft, holding, deleted = Draft(RunFiles(platform.a_run(), "model")), threading.Event(), threading.Event()
    with connected.db.read() as tx:
        version_id = drafts.id_for(tx, again, model_id)

    def delete() -> None:
        with connected.db.write() as tx:
            model = model_rows.lock(tx, "default", "fraud")
            assert model is not None
            model_rows.delete(tx, model.model_id)
            holding.set()
            assert deleted.wait(20)

    with ThreadPoolExecutor(2) as pool:
        deleting = pool.submit(delete)
        assert holding.wait(20)
        making = pool.submit(connected.drafts.create, "default", "fraud", draft, request=again)
        deleted.set()
        deleting.result()
        with pytest.raises((ModelNotFound, ModelIdNotFound)):
            making.result()

    assert not are_kept(platform, version_id)


def test_a_request_id_can_be_used_again_after_a_day(connected: Registry, platform: Platform, again: Request) -> None:
    connected.a_model("fraud")
    source = RunFiles(platform.a_run(), "model")
    first = connected.drafts.create("default", "fraud", Draft(source), request=again)

    connected.clock.advance(KEPT_MS)
    second = connected.drafts.create("default", "fraud", Draft(source), request=again)

    assert (second.version_number, second.version_id != first.version_id) == (2, True)


def test_a_repeated_request_for_a_version_that_is_gone_says_so(
    connected: Registry, platform: Platform, again: Request
) -> None:
    connected.a_model("fraud")
    source = RunFiles(platform.a_run(), "model")
    made = connected.drafts.create("default", "fraud", Draft(source), request=again)
    connected.versions.delete("default", "fraud", 1)

    with pytest.raises(CreatedVersionDeleted, match=f"this request created, {made.version_id}, has been deleted"):
        connected.drafts.create("default", "fraud", Draft(source), request=again)


def test_a_failure_before_the_version_leaves_nothing(connected: Registry, platform: Platform) -> None:
    connected.a_model("fraud")

    with pytest.raises(SourceEmpty):
        connected.drafts.create("default", "fraud", Draft(RunFiles(platform.a_run(), "nothing")), request=ONCE)

    assert connected.get("fraud").last_version_number == 0
    assert len(connected.followed()) == 1


def test_without_tracking_no_version_is_made_and_the_missing_neighbour_is_named(registry: Registry) -> None:
    registry.a_model("fraud")

    with pytest.raises(ServiceUnavailable) as refusal:
        registry.drafts.create("default", "fraud", Draft(RunFiles("0" * 32, "model")), request=ONCE)

    assert refusal.value.metadata["service"] == "tracking"


def test_a_copy_has_signature_and_flavors_of_its_source_unless_it_brings_its_own(
    connected: Registry, platform: Platform
) -> None:
    connected.a_model("fraud")
    signature, flavors = Signature(inputs="[]"), (Flavor("sklearn", "1.5.2"),)
    draft = Draft(RunFiles(platform.a_run(), "model"), signature=signature, flavors=flavors)
    made = connected.drafts.create("default", "fraud", draft, request=ONCE)

    copy = connected.drafts.create("default", "fraud", Draft(VersionCopy("fraud", 1)), request=ONCE)
    own = Draft(VersionCopy("fraud", 1), signature=Signature(outputs="[]"), flavors=(Flavor("onnx"),))
    other = connected.drafts.create("default", "fraud", own, request=ONCE)

    assert (copy.signature, copy.flavors, copy.run_id) == (signature, flavors, made.run_id)
    assert (other.signature, other.flavors) == (Signature(outputs="[]"), (Flavor("onnx"),))
    assert (copy.source, copy.files) == (VersionCopy("fraud", 1, made.version_id), made.files)


def test_a_copy_of_a_version_whose_files_are_gone_meanwhile_is_refused(connected: Registry) -> None:
    connected.a_model("fraud")
    version = connected.a_version()  # artifacts has no files of it, as after its deletion

    with pytest.raises(VersionIdNotFound, match=version.version_id):
        connected.drafts.create("default", "fraud", Draft(VersionCopy("fraud", 1)), request=ONCE)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"signature": Signature(inputs="1" * 1_000_001)}, "signature.inputs"),
        ({"signature": Signature(inputs=f'"{"x" * 600_000}"', params=f'"{"x" * 600_000}"')}, "signature"),
        ({"signature": Signature(inputs="x")}, "signature.inputs"),
        ({"signature": Signature(outputs="[" * 100_000)}, "signature.outputs"),
        ({"flavors": (Flavor(""),)}, "flavors[0].name"),
        ({"flavors": (Flavor("x" * 251),)}, "flavors[0].name"),
        ({"flavors": (Flavor("a"), Flavor("a"))}, "flavors[1].name"),
        ({"flavors": (Flavor("a", "x" * 251),)}, "flavors[0].library_version"),
        ({"flavors": tuple(Flavor(str(n)) for n in range(101))}, "flavors"),
        ({"source": None}, "source"),
        ({"reason": "x" * 5001}, "reason"),
    ],
)
def test_a_draft_beyond_a_limit_is_refused_by_its_path(
    registry: Registry, fields: dict[str, object], path: str
) -> None:
    registry.a_model("fraud")

    draft = Draft(**({"source": RunFiles("0" * 32, "model")} | fields))  # type: ignore[arg-type]

    with pytest.raises(FieldInvalid) as refusal:
        registry.drafts.create("default", "fraud", draft, request=ONCE)

    assert list(refusal.value.violations) == [path]
