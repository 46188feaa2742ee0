"""Who may not read a model learns nothing of it: every rule asks for permission before it judges anything else."""

from collections.abc import Callable, Iterator

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.errors import NotFound, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain import evaluations
from modelry_server.registry.domain.drafts import Draft
from modelry_server.registry.domain.promotions import Move
from modelry_server.registry.entities import Evaluation, VersionCopy
from modelry_server.registry.store import evaluations as rows
from tests.parts.judge import HeldJudge, calling
from tests.server.registry.conftest import ONCE, Registry

IDS = {"model": "", "version": "", "promotion": "", "evaluation": new_id()}
NAMED = ("default", "fraud")


def using(principal_id: str, name: str) -> caller.using:
    """Makes somebody the caller of an rpc: Bob, who may read everything, or Eve, who has no role."""
    return caller.using(calling(principal_id, "registry", "CreateVersion" if name == "a copy" else name.split()[0]))


@pytest.fixture
def guarded(db: Database) -> Iterator[Registry]:
    """A model with a version, a promotion and an alias, under the eyes of a judge."""
    judge = HeldJudge()
    judge.give("bob", "reader", at=Place("default"))
    made = Registry(db, judge=judge)
    IDS["model"] = made.a_model("fraud").model_id
    IDS["version"] = made.a_version("fraud").version_id
    promotion = made.promote(1, "Staging").promotion
    assert promotion is not None
    IDS["promotion"] = promotion.promotion_id
    made.aliases.point("default", "fraud", "champion", 1)
    with made.db.write() as tx:
        rows.add(tx, _evaluation(IDS["evaluation"]))
    yield made
    made.close()


def _evaluation(evaluation_id: str) -> Evaluation:
    return Evaluation(
        evaluation_id=evaluation_id,
        workspace="default",
        model_id=IDS["model"],
        model_name="fraud",
        version_number=1,
        name="holdout",
        run_id=new_id(),
        artifact_path="",
        metrics=(),
        verdicts=(),
        dataset_name="",
        dataset_digest="",
        creator="ada",
        create_time=0,
    )


Ask = Callable[[Registry], object]

# Each with something that is wrong with the request, too: a stranger must not be told of that.
READS: dict[str, tuple[Ask, str]] = {
    "GetModel": (lambda r: r.models.get(workspace="default", model_name="fraud"), "MODEL_NOT_FOUND"),
    "GetModel by id": (lambda r: r.models.get(model_id=IDS["model"]), "MODEL_NOT_FOUND"),
    "GetVersion": (
        lambda r: r.versions.get(workspace="default", model_name="fraud", version_number=1),
        "MODEL_NOT_FOUND",
    ),
    "GetVersion of none": (
        lambda r: r.versions.get(workspace="default", model_name="fraud", version_number=9),
        "MODEL_NOT_FOUND",
    ),
    "GetVersion by id": (lambda r: r.versions.get(version_id=IDS["version"]), "VERSION_NOT_FOUND"),
    "ListLatestVersions": (lambda r: r.versions.latest(*NAMED, ["Live"]), "MODEL_NOT_FOUND"),
    "GetAlias": (lambda r: r.aliases.resolve(*NAMED, "champion"), "MODEL_NOT_FOUND"),
    "GetAlias of none": (lambda r: r.aliases.resolve(*NAMED, "none"), "MODEL_NOT_FOUND"),
    "GetPromotion": (lambda r: r.promotions.get(IDS["promotion"]), "PROMOTION_NOT_FOUND"),
    "ListPromotions": (lambda r: r.promotions.page(*NAMED, -1, after=None, limit=1), "MODEL_NOT_FOUND"),
    "GetEvaluation": (lambda r: r.evaluations.get(IDS["evaluation"]), "EVALUATION_NOT_FOUND"),
    "ListEvaluations": (lambda r: r.evaluations.page(*NAMED, -1, "", False, after=None, limit=1), "MODEL_NOT_FOUND"),
    "ListAuditRecords": (
        lambda r: r.audit.page("default", model_name="fraud", model_id="", version_number=-1, after=None, limit=1),
        "MODEL_NOT_FOUND",
    ),
    "ListAuditRecords by id": (
        lambda r: r.audit.page("default", model_name="", model_id=IDS["model"], version_number=-1, after=None, limit=1),
        "MODEL_NOT_FOUND",
    ),
    "SearchModels": (lambda r: r.models.search("default", "(", [], after=None, limit=1), "WORKSPACE_NOT_FOUND"),
    "SearchVersions": (lambda r: r.versions.search("default", "(", [], after=None, limit=1), "WORKSPACE_NOT_FOUND"),
    "ListEvents": (lambda r: r.events.page("default", "x", model_name="x" * 999, limit=1), "WORKSPACE_NOT_FOUND"),
    "a copy": (lambda r: r.sources.origin("default", VersionCopy("fraud", 9)), "MODEL_NOT_FOUND"),
}
LONG = "x" * 9999
WRITES: dict[str, tuple[Ask, str]] = {
    "CreateModel": (lambda r: r.models.create("default", "a/b", request=ONCE), "WORKSPACE_NOT_FOUND"),
    "UpdateModel": (lambda r: r.models.update(IDS["model"], dict, reason=LONG), "MODEL_NOT_FOUND"),
    "DeleteModel": (lambda r: r.models.delete(*NAMED, reason=LONG), "MODEL_NOT_FOUND"),
    "SetModelTags": (lambda r: r.models.set_tags(*NAMED, {}), "MODEL_NOT_FOUND"),
    "DeleteModelTags": (lambda r: r.models.delete_tags(*NAMED, []), "MODEL_NOT_FOUND"),
    "CreateVersion": (lambda r: r.drafts.create(*NAMED, Draft(None), request=ONCE), "MODEL_NOT_FOUND"),
    "UpdateVersion": (lambda r: r.versions.update(IDS["version"], dict, reason=LONG), "VERSION_NOT_FOUND"),
    "DeleteVersion": (lambda r: r.versions.delete(*NAMED, 9, reason=LONG), "MODEL_NOT_FOUND"),
    "SetVersionTags": (lambda r: r.versions.set_tags(*NAMED, 9, {}), "MODEL_NOT_FOUND"),
    "DeleteVersionTags": (lambda r: r.versions.delete_tags(*NAMED, 9, []), "MODEL_NOT_FOUND"),
    "SetAlias": (lambda r: r.aliases.point(*NAMED, "", 9), "MODEL_NOT_FOUND"),
    "DeleteAlias": (lambda r: r.aliases.delete(*NAMED, "none", reason=LONG), "MODEL_NOT_FOUND"),
    "CreateEvaluation": (
        lambda r: r.evaluations.create(*NAMED, evaluations.Draft(9, "", ""), request=ONCE),
        "MODEL_NOT_FOUND",
    ),
    "PromoteVersion": (lambda r: r.promotions.promote(*NAMED, Move(1, "Live"), request=ONCE), "MODEL_NOT_FOUND"),
}


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_stranger_is_told_that_nothing_is_there(guarded: Registry, name: str) -> None:
    ask, reason = {**READS, **WRITES}[name]

    with using("eve", name), pytest.raises((NotFound, WorkspaceNotFound)) as refusal:
        ask(guarded)

    assert refusal.value.reason == reason


def test_a_stranger_sees_no_difference_between_what_is_hidden_and_what_does_not_exist(guarded: Registry) -> None:
    def answer(model_name: str) -> tuple[str, dict[str, str]]:
        with using("eve", "GetModel"), pytest.raises(NotFound) as refusal:
            guarded.models.get(workspace="default", model_name=model_name)
        return refusal.value.message.replace(model_name, "?"), refusal.value.metadata | {"model_name": "?"}

    assert answer("fraud") == answer("none")


@pytest.mark.parametrize("name", WRITES)
def test_a_reader_may_not_change_anything(guarded: Registry, name: str) -> None:
    before = guarded.records()

    with using("bob", name), pytest.raises(PermissionMissing):
        WRITES[name][0](guarded)

    assert guarded.records() == before


@pytest.mark.parametrize(
    "name",
    ["GetModel", "GetModel by id", "GetVersion", "GetVersion by id", "GetAlias", "GetPromotion", "GetEvaluation"],
)
def test_a_reader_may_read(guarded: Registry, name: str) -> None:
    with using("bob", name):
        assert READS[name][0](guarded)
