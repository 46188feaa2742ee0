from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry.api.access import v1 as access
from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, key_of, unique
from tests.parts.deployment import Deployment
from tests.parts.refusal import refused

WRITERS = 8
CHANGES = 10


def newest(platform: Platform, workspace: str = WORKSPACE) -> str:
    """The cursor behind the last event that there is."""
    cursor = ""
    while True:
        request = api.ListEventsRequest(workspace=workspace, after_cursor=cursor, page_size=1000)
        answer = platform.events.ListEvents(request)
        cursor = answer.next_cursor
        if not answer.events:
            return cursor


def events(platform: Platform, after: str, **fields: object) -> list[api.Event]:
    request = api.ListEventsRequest(workspace=WORKSPACE, after_cursor=after, **fields)  # type: ignore[arg-type]
    return list(platform.events.ListEvents(request).events)


@pytest.fixture
def workspace(deployment: Deployment) -> str:
    """A new workspace."""
    name = f"team-{new_id()}"
    deployment.stub(access.WorkspaceServiceStub).CreateWorkspace(access.CreateWorkspaceRequest(name=name))
    return name


def test_each_change_is_an_event_with_its_type_and_a_payload_of_its_own(platform: Platform) -> None:
    before = newest(platform)
    model = platform.a_model(description="x", tags={"a": "1"})
    name, run_id = unique("scam"), platform.a_run()
    first = platform.a_version(model.name, run_id)
    second = platform.a_version(model.name, run_id)
    platform.versions.UpdateVersion(
        api.UpdateVersionRequest(version=api.Version(version_id=first.version_id, description="Words."))
    )
    platform.versions.SetVersionTags(api.SetVersionTagsRequest(**key_of(first), tags={"k": "v"}))
    platform.versions.DeleteVersionTags(api.DeleteVersionTagsRequest(**key_of(first), keys=["k"]))
    platform.set_alias(first, "champion")
    platform.set_alias(second, "champion")
    platform.aliases.DeleteAlias(api.DeleteAliasRequest(workspace=WORKSPACE, model_name=model.name, alias="champion"))
    platform.promote(first, "Production")
    promotion = platform.promote(second, "Production", archive_existing=True).promotion
    platform.versions.DeleteVersion(api.DeleteVersionRequest(**key_of(first)))
    of_model = {"workspace": WORKSPACE, "model_name": model.name}
    platform.models.SetModelTags(api.SetModelTagsRequest(**of_model, tags={"a": "2"}))
    platform.models.DeleteModelTags(api.DeleteModelTagsRequest(**of_model, keys=["a"]))
    platform.models.UpdateModel(
        api.UpdateModelRequest(model=api.Model(model_id=model.model_id, name=name, description="y"))
    )
    platform.promote(api.Version(model_name=name, version_number=2), "None")
    platform.models.DeleteModel(api.DeleteModelRequest(workspace=WORKSPACE, model_name=name))

    found = [event for event in events(platform, before, page_size=1000) if event.model_id == model.model_id]

    told = [(api.EventType.Name(event.type).removeprefix("EVENT_TYPE_"), event.version_number) for event in found]
    assert told == [
        ("MODEL_CREATED", 0),
        ("VERSION_CREATED", 1),
        ("VERSION_CREATED", 2),
        ("VERSION_UPDATED", 1),
        ("VERSION_TAGS_SET", 1),
        ("VERSION_TAGS_DELETED", 1),
        ("ALIAS_SET", 1),
        ("ALIAS_SET", 2),
        ("ALIAS_DELETED", 2),
        ("VERSION_PROMOTED", 1),
        ("VERSION_PROMOTED", 2),
        ("VERSION_PROMOTED", 1),
        ("VERSION_DELETED", 1),
        ("MODEL_TAGS_SET", 0),
        ("MODEL_TAGS_DELETED", 0),
        ("MODEL_UPDATED", 0),
        ("VERSION_PROMOTED", 2),
        ("MODEL_DELETED", 0),
    ]
    assert [event.WhichOneof("payload") for event in found] == [
        *("model_created", "version_created", "version_created", "version_updated", "tags_set", "tags_deleted"),
        *("alias_set", "alias_set", "alias_deleted", "version_promoted", "version_promoted", "version_promoted"),
        *("version_deleted", "tags_set", "tags_deleted", "model_updated", "version_promoted", "model_deleted"),
    ]
    assert found[1].version_created == api.VersionCreated(version_id=first.version_id, run_id=run_id)
    assert found[3].version_updated == api.VersionUpdated(changed_fields=["description"])
    assert found[4].tags_set == api.TagsSet(tags={"k": "v"})
    assert found[5].tags_deleted == api.TagsDeleted(keys=["k"])
    assert [event.alias_set for event in found[6:8]] == [
        api.AliasSet(alias="champion"),
        api.AliasSet(alias="champion", previous_version_number=1),
    ]
    assert found[8].alias_deleted == api.AliasDeleted(alias="champion")
    assert found[10].version_promoted == api.VersionPromoted(
        promotion_id=promotion.promotion_id,
        from_stage="None",
        to_stage="Production",
        archived_version_numbers=[1],
    )
    assert found[12].version_deleted == api.VersionDeleted(version_id=first.version_id, stage="Archived")
    assert found[15].model_updated == api.ModelUpdated(changed_fields=["description", "name"], previous_name=model.name)
    assert [event.model_name for event in found] == [model.name] * 15 + [name] * 3
    assert found[17].model_deleted == api.ModelDeleted(version_numbers=[2])
    assert [event.audit_sequence for event in found] == list(range(1, 19))
    assert len({event.event_id for event in found}) == 18
    assert {len(event.event_id) for event in found} == {32}
    assert {event.workspace for event in found} == {WORKSPACE}


def test_who_follows_by_the_next_cursor_misses_nothing_and_sees_nothing_twice(platform: Platform) -> None:
    names = [unique("fraud") for _ in range(WRITERS)]
    first = newest(platform)
    writing = threading.Event()

    def write(name: str) -> None:
        platform.a_model(name)
        for change in range(CHANGES):
            request = api.SetModelTagsRequest(workspace=WORKSPACE, model_name=name, tags={"n": str(change)})
            platform.models.SetModelTags(request)

    def follow() -> list[api.Event]:
        cursor, seen = first, list[api.Event]()
        while True:
            is_last_look = writing.is_set()
            request = api.ListEventsRequest(workspace=WORKSPACE, after_cursor=cursor, page_size=7)
            answer = platform.events.ListEvents(request)
            assert answer.next_cursor
            seen.extend(answer.events)
            cursor = answer.next_cursor
            if is_last_look and not answer.events:
                return seen

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        following = pool.submit(follow)
        for written in [pool.submit(write, name) for name in names]:
            written.result()
        writing.set()
        seen = following.result()

    assert len({event.event_id for event in seen}) == len(seen)
    assert len({event.cursor for event in seen}) == len(seen)
    for name in names:
        told = [event.tags_set.tags["n"] for event in seen if event.model_name == name][1:]
        assert told == [str(change) for change in range(CHANGES)]


def test_an_event_is_there_as_soon_as_its_change_was_answered(platform: Platform) -> None:
    before = newest(platform)

    for _ in range(20):
        name = platform.a_model().name
        assert [event.model_name for event in events(platform, before, model_name=name)] == [name]


def test_the_cursor_of_an_event_goes_on_after_it(platform: Platform) -> None:
    before = newest(platform)
    names = [platform.a_model().name for _ in range(3)]

    first, *_ = events(platform, before, model_name=names[0])

    later = [event.model_name for event in events(platform, first.cursor, page_size=1000)]
    assert [name for name in later if name in names] == names[1:]


def test_a_filter_passes_what_it_leaves_out(platform: Platform) -> None:
    before = newest(platform)
    model = platform.a_model()
    platform.models.SetModelTags(api.SetModelTagsRequest(workspace=WORKSPACE, model_name=model.name, tags={"k": "v"}))

    def types(*wanted: int, name: str = model.name) -> tuple[list[int], list[api.Event]]:
        request = api.ListEventsRequest(
            workspace=WORKSPACE,
            after_cursor=before,
            model_name=name,
            types=wanted,  # type: ignore[arg-type]
        )
        answer = platform.events.ListEvents(request)
        left = events(platform, answer.next_cursor, model_name=model.name)
        return [event.type for event in answer.events], left

    assert types() == ([api.EVENT_TYPE_MODEL_CREATED, api.EVENT_TYPE_MODEL_TAGS_SET], [])
    assert types(api.EVENT_TYPE_MODEL_TAGS_SET) == ([api.EVENT_TYPE_MODEL_TAGS_SET], [])
    assert types(api.EVENT_TYPE_ALIAS_SET) == ([], [])
    assert types(name=unique("none")) == ([], [])


def test_a_cursor_says_nothing_of_other_workspaces(platform: Platform, workspace: str) -> None:
    empty = platform.events.ListEvents(api.ListEventsRequest(workspace=workspace)).next_cursor
    for _ in range(3):
        platform.a_model()
    still = platform.events.ListEvents(api.ListEventsRequest(workspace=workspace)).next_cursor
    platform.a_model(workspace=workspace)
    first = platform.events.ListEvents(api.ListEventsRequest(workspace=workspace))

    assert still == empty
    assert [event.cursor for event in first.events] == [first.next_cursor]
    assert first.next_cursor != empty


def test_a_cursor_of_another_workspace_is_refused(platform: Platform, workspace: str) -> None:
    platform.a_model()
    request = api.ListEventsRequest(workspace=workspace, after_cursor=newest(platform))

    refusal = refused(platform.events.ListEvents, request)

    assert (refusal.code, refusal.reason, list(refusal.violations)) == (
        "INVALID_ARGUMENT",
        "CURSOR_INVALID",
        ["after_cursor"],
    )


def test_a_cursor_is_for_every_caller_who_may_read_the_workspace(platform: Platform) -> None:
    before = newest(platform)
    name = platform.a_model().name

    request = api.ListEventsRequest(workspace=WORKSPACE, after_cursor=before, model_name=name)
    answer = platform.events.ListEvents(request, metadata=(("modelry-subject", "eve"),))

    assert [event.model_name for event in answer.events] == [name]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"after_cursor": "x"}, "CURSOR_INVALID"),
        ({"after_cursor": "7"}, "CURSOR_INVALID"),
        ({"page_size": -1}, "FIELD_INVALID"),
        ({"model_name": "x" * 251}, "FIELD_INVALID"),
        ({"types": [99]}, "FIELD_INVALID"),
        ({"types": [0]}, "FIELD_INVALID"),
        ({"workspace": ""}, "FIELD_INVALID"),
        ({"workspace": "nowhere"}, "WORKSPACE_NOT_FOUND"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    platform: Platform, fields: dict[str, object], reason: str
) -> None:
    request = api.ListEventsRequest(**({"workspace": WORKSPACE} | fields))  # type: ignore[arg-type]

    assert refused(platform.events.ListEvents, request).reason == reason
