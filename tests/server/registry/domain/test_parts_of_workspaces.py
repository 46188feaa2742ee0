"""Who has a role at some models of a workspace finds these models, and no trace of the others."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.authority import Grants
from modelry_server.kernel.errors import ModelryError, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.entities import VersionCopy
from modelry_server.registry.errors import CursorOutOfRange, ModelNotFound
from tests.parts.judge import HeldJudge, calling
from tests.server.registry.conftest import ONCE, EventsSeen, Registry

JUDGE = HeldJudge()
MINE, HIDDEN = "mine", "hidden"


@pytest.fixture
def registry(db: Database) -> Iterator[Registry]:
    """Two models with two versions each. Bob reads one of them."""
    JUDGE.take_all("bob")
    made = Registry(db, judge=JUDGE)
    for name in (MINE, HIDDEN):
        made.a_model(name)
        for _ in range(2):
            made.a_version(name)
        made.aliases.point("default", name, "champion", 1)
    JUDGE.give("bob", "reader", at=at(made, MINE))
    yield made
    made.close()


def at(registry: Registry, name: str) -> Place:
    """Where a model lies."""
    return Place("default", model_id=registry.get(name).model_id)


def using(rpc: str) -> caller.using:
    """Makes Bob the caller of an rpc."""
    return caller.using(calling("bob", "registry", rpc))


def models(registry: Registry) -> list[str]:
    """The names of the models that Bob finds."""
    with using("SearchModels"):
        return [each.item.name for each in registry.models.search("default", "", [], after=None, limit=9)]


def versions(registry: Registry, filter: str = "") -> list[tuple[str, int]]:
    """The versions that Bob finds."""
    with using("SearchVersions"):
        found = [each.item for each in registry.versions.search("default", filter, [], after=None, limit=9)]
    return sorted((each.model_name, each.version_number) for each in found)


def events(registry: Registry, after_cursor: str = "", limit: int = 100) -> EventsSeen:
    """The events that Bob finds."""
    with using("ListEvents"):
        return registry.event_page("default", after_cursor, limit=limit)


def raised(call: Callable[[], object]) -> ModelryError:
    with pytest.raises(ModelryError) as caught:
        call()
    return caught.value


def test_a03_models_and_versions_of_others_are_not_found(registry: Registry) -> None:
    assert models(registry) == [MINE]
    assert versions(registry) == versions(registry, "version_number > 0") == [(MINE, 1), (MINE, 2)]
    assert versions(registry, f"model_name = '{HIDDEN}'") == []

    JUDGE.give("bob", "reader", at=Place("default"))

    assert models(registry) == [HIDDEN, MINE]
    assert len(versions(registry)) == 4


def test_a10_pages_have_the_part_only_and_are_judged_anew(registry: Registry) -> None:
    with using("SearchVersions"):
        (first,) = registry.versions.search("default", "", [], after=None, limit=1)
        rest = list(registry.versions.search("default", "", [], after=first.key, limit=9))
    assert [each.item.model_name for each in (first, *rest)] == [MINE, MINE]

    JUDGE.take_all("bob")

    with using("SearchVersions"), pytest.raises(WorkspaceNotFound):
        registry.versions.search("default", "", [], after=first.key, limit=9)


def test_a_role_for_a_model_in_another_workspace_shows_nothing_of_it(registry: Registry) -> None:
    model_id = registry.get(HIDDEN).model_id
    JUDGE.hold("bob", Grants(models={("elsewhere", model_id): frozenset({"models.read"})}))

    assert isinstance(raised(lambda: models(registry)), WorkspaceNotFound)
    with using("GetModel"), pytest.raises(ModelNotFound):
        registry.models.get(workspace="default", model_name=HIDDEN)


def test_who_has_a_role_at_an_experiment_only_finds_nothing_here(registry: Registry) -> None:
    JUDGE.hold("bob", Grants(experiments={("default", "7"): frozenset({"models.read"})}))

    assert (models(registry), versions(registry), events(registry).events) == ([], [], [])


def test_more_models_than_a_statement_takes_placeholders(registry: Registry) -> None:
    ids = [*(new_id() for _ in range(40_000)), registry.get(MINE).model_id]
    JUDGE.hold("bob", Grants(models={("default", each): frozenset({"models.read"}) for each in ids}))

    assert models(registry) == [MINE]
    assert len(versions(registry)) == 2
    assert {event.model_name for event, _ in events(registry).events} == {MINE}


NAMED: dict[str, Callable[[Registry, str], object]] = {
    "GetModel": lambda r, name: r.models.get(workspace="default", model_name=name),
    "GetVersion": lambda r, name: r.versions.get(workspace="default", model_name=name, version_number=1),
    "GetAlias": lambda r, name: r.aliases.resolve("default", name, "champion"),
    "ListLatestVersions": lambda r, name: r.versions.latest("default", name, []),
    "ListPromotions": lambda r, name: r.promotions.page("default", name, 0, after=None, limit=9),
    "ListEvaluations": lambda r, name: r.evaluations.page("default", name, 0, "", False, after=None, limit=9),
    "SetAlias": lambda r, name: r.aliases.point("default", name, "champion", 1),
    "DeleteModel": lambda r, name: r.models.delete("default", name),
    "CreateVersion": lambda r, name: r.sources.origin("default", VersionCopy(name, 1)),
}


@pytest.mark.parametrize("rpc", NAMED)
def test_a_model_of_others_is_one_that_is_not_there(registry: Registry, rpc: str) -> None:
    def told(name: str) -> tuple[object, ...]:
        with using(rpc):
            error = raised(lambda: NAMED[rpc](registry, name))
        metadata = {key: "?" if value == name else value for key, value in error.metadata.items()}
        return type(error), error.message.replace(repr(name), "?"), metadata

    assert told(HIDDEN) == told("absent")
    assert told(HIDDEN)[0] is ModelNotFound


def test_a09_names_that_are_taken_are_no_way_to_find_out(registry: Registry) -> None:
    JUDGE.give("bob", "writer", at=at(registry, MINE))
    model_id = registry.get(MINE).model_id

    for name in (HIDDEN, "free"):
        with using("CreateModel"), pytest.raises(PermissionMissing):
            registry.models.create("default", name, request=ONCE)
        with using("UpdateModel"), pytest.raises(PermissionMissing):
            registry.models.update(model_id, lambda name=name: {"name": name})  # type: ignore[misc]

    with using("UpdateModel"):
        assert registry.models.update(model_id, lambda: {"description": "Words."}).name == MINE


def test_a08_a_copy_needs_the_right_to_read_the_files(registry: Registry) -> None:
    JUDGE.hold("bob", Grants())
    JUDGE.give("bob", "models.read", at=at(registry, MINE))

    with using("CreateVersion"), pytest.raises(PermissionMissing, match=r"files\.read"):
        registry.sources.origin("default", VersionCopy(MINE, 1))
    JUDGE.give("bob", "files.read", at=at(registry, MINE))
    with using("CreateVersion"):
        assert registry.sources.origin("default", VersionCopy(MINE, 1))


def test_a03_events_and_cursors_tell_nothing_of_other_models(registry: Registry) -> None:
    seen = events(registry)
    assert {event.model_name for event, _ in seen.events} == {MINE}
    positions = [event.position for event, _ in seen.events]
    assert events(registry, seen.next_cursor).next_cursor == seen.next_cursor

    registry.update(HIDDEN, description="Others work.")
    registry.aliases.delete("default", HIDDEN, "champion")

    assert events(registry, seen.next_cursor) == EventsSeen([], seen.next_cursor)
    assert events(registry) == seen
    for _, cursor in seen.events:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        assert not any(f"[{position},".encode() in content for position in positions)

    registry.update(MINE, description="Bob's model.")
    (event, cursor), *more = events(registry, seen.next_cursor).events
    assert (event.type, more) == ("model.updated", [])
    assert events(registry, seen.next_cursor).next_cursor == cursor


def test_pages_of_events_are_full_whatever_lies_between(registry: Registry) -> None:
    for number in range(5):
        registry.update(HIDDEN, description=f"{number}")
        registry.update(MINE, description=f"{number}")

    seen: list[int] = []
    cursor = ""
    while True:
        page = events(registry, cursor, limit=2)
        seen += [event.audit_sequence for event, _ in page.events]
        cursor = page.next_cursor
        if len(page.events) < 2:
            break

    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) == 7


def test_a_cursor_from_before_a_restore_tells_nothing_of_other_models(registry: Registry) -> None:
    newest = events(registry).next_cursor
    lost = registry.events._cursor("default", registry.events._mark("default", newest)._replace(event_id=new_id()))
    registry.update(HIDDEN, description="Others work.")

    refused = raised(lambda: events(registry, lost))

    assert isinstance(refused, CursorOutOfRange)
    assert refused.metadata["newest_cursor"] == newest


def test_a_cursor_of_somebody_who_sees_more_is_good_and_shows_no_more(registry: Registry) -> None:
    everything = registry.event_page("default", "", limit=100)
    registry.update(HIDDEN, description="Others work.")
    registry.update(MINE, description="Bob's model.")

    found = events(registry, everything.next_cursor).events

    assert [(event.model_name, event.type) for event, _ in found] == [(MINE, "model.updated")]
    newest = registry.event_page("default", "", limit=100).next_cursor
    assert events(registry, newest) == EventsSeen([], newest)


MOVES = [
    ("None", "Staging", "versions.stage"),
    ("None", "Production", "versions.promote"),
    ("None", "Archived", "versions.archive"),
    ("Staging", "None", "versions.archive"),
    ("Archived", "Staging", "versions.stage"),
    ("Archived", "Production", "versions.promote"),
    ("Production", "Staging", "versions.promote"),
    ("Production", "Production", "versions.promote"),
    ("Production", "Archived", "versions.archive"),
    ("Production", "None", "versions.archive"),
]


@pytest.mark.parametrize(("present", "target", "needed"), MOVES)
def test_a18_what_a_move_needs_depends_on_the_stages(
    registry: Registry, present: str, target: str, needed: str
) -> None:
    registry.a_model()
    registry.a_version(stage=present)
    stages = {"versions.stage", "versions.promote", "versions.archive"}
    JUDGE.give("bob", "models.read", *(stages - {needed}), at=at(registry, "fraud"))

    with using("PromoteVersion"), pytest.raises(PermissionMissing) as refused:
        registry.promote(1, target)
    assert refused.value.metadata["permission"] == needed
    assert registry.versions.get(workspace="default", model_name="fraud", version_number=1).stage == present

    JUDGE.hold("bob", Grants())
    JUDGE.give("bob", "models.read", needed, at=at(registry, "fraud"))
    with using("PromoteVersion"):
        assert registry.promote(1, target).version.stage == target


def test_who_may_not_move_is_told_before_the_rest_is_judged(registry: Registry) -> None:
    registry.a_model()
    registry.a_version()
    JUDGE.give("bob", "reader", at=at(registry, "fraud"))

    with using("PromoteVersion"):
        for stage in ("Live", "", "Production"):
            with pytest.raises(PermissionMissing):
                registry.promote(1, stage, reason="x" * 9999, etag="wrong")
