"""What holds for the outbox: nothing is skipped, nothing repeated, also while others write."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.kernel.errors import FieldInvalid, ServiceUnavailable
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.entities import Event
from tests.server.registry.conftest import MIGRATIONS, Registry

WRITERS = 8
CHANGES = 12


def events(registry: Registry, model: str = "", after: int = 0) -> list[Event]:
    return registry.events.page("default", model, after=after, limit=1000)


def test_an_event_says_what_a_change_made_of_a_model(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")
    registry.aliases.point("default", "fraud", "champion", 1)

    last = events(registry)[-1]

    assert (last.cursor, last.workspace, last.model, last.number, last.type) == (2, "default", "fraud", 1, "alias.set")
    assert (json.loads(last.payload), last.create_time) == ({"alias": "champion", "number": 1}, registry.clock.now())


def test_each_audit_record_has_its_event(registry: Registry) -> None:
    registry.a_model("fraud", description="x")
    registry.models.set_tags("default", "fraud", {"k": "v"})
    registry.models.describe("default", "fraud", {"name": "scam"})
    model_id = registry.models.get("default", "scam").model_id
    registry.models.delete("default", "scam")

    records = registry.audit.page("default", model="", model_id=model_id, number=0, before=None, limit=9)

    told = [(event.type, event.model, event.number, event.payload) for event in events(registry)]
    assert told == [(each.action, each.model, each.number, each.after) for each in reversed(records)]


def test_who_follows_from_the_last_cursor_misses_nothing_and_sees_nothing_twice(
    registry: Registry, database_url: str
) -> None:
    other = Registry(Database(database_url, room="registry", migrations=MIGRATIONS))  # as another process would be
    writing = threading.Event()
    seen: list[Event] = []

    def write(writer: int) -> None:
        own = (registry, other)[writer % 2]
        own.a_model(f"model-{writer}")
        for change in range(CHANGES):
            own.models.set_tags("default", f"model-{writer}", {"n": str(change)})

    def follow() -> None:
        while True:
            is_last_look = writing.is_set()
            new = registry.events.page("default", "", after=seen[-1].cursor if seen else 0, limit=7)
            seen.extend(new)
            if is_last_look and not new:
                return

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        following = pool.submit(follow)
        for written in [pool.submit(write, writer) for writer in range(WRITERS)]:
            written.result()
        writing.set()
        following.result()

    assert [event.cursor for event in seen] == list(range(1, WRITERS * (CHANGES + 1) + 1))
    for writer in range(WRITERS):
        of_writer = [event.payload for event in seen if event.model == f"model-{writer}"][1:]
        assert of_writer == [f'{{"n":"{change}"}}' for change in range(CHANGES)]
    other.close()
    other.db.close()


def test_a_follower_may_ask_for_one_model_only(registry: Registry) -> None:
    for name in ("fraud", "churn"):
        registry.a_model(name)
    registry.models.set_tags("default", "fraud", {"k": "v"})

    assert [event.cursor for event in events(registry, "fraud")] == [1, 3]
    assert [event.cursor for event in events(registry, "fraud", after=1)] == [3]
    assert events(registry, "none") == []


def test_at_the_end_there_is_nothing_new(registry: Registry) -> None:
    registry.a_model("fraud")

    assert events(registry, after=1) == []


@pytest.mark.parametrize(
    ("after", "problem"), [(-1, "negative"), (2, "the last cursor is 1"), (2**63 - 1, "never given")]
)
def test_a_cursor_that_was_never_given_is_refused(registry: Registry, after: int, problem: str) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid, match=problem):
        events(registry, after=after)


@pytest.mark.parametrize("model", ["x" * 251, "a\0b"])
def test_a_model_name_beyond_its_limit_is_refused(registry: Registry, model: str) -> None:
    with pytest.raises(FieldInvalid, match="model"):
        events(registry, model)


def test_without_access_nothing_is_said_of_other_workspaces(registry: Registry) -> None:
    with pytest.raises(ServiceUnavailable) as refusal:
        registry.events.page("other", "", after=0, limit=1)

    assert refusal.value.metadata["service"] == "access"
