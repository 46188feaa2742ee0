"""What holds for events: nothing is skipped, nothing comes twice, also while others write."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.kernel.access import ALL
from modelry_server.kernel.errors import FieldInvalid, ServiceUnavailable
from modelry_server.kernel.requests.paging import CursorInvalid, Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain import journal
from modelry_server.registry.entities import Change, Event
from modelry_server.registry.errors import CursorOutOfRange
from modelry_server.registry.store import events as event_rows
from modelry_server.registry.store import models as model_rows
from tests.server.registry.conftest import MIGRATIONS, Registry

WRITERS = 8
CHANGES = 15


@pytest.fixture
def other(database_url: str, registry: Registry) -> Iterator[Registry]:
    """The registry as another process would run it, on the same database."""
    made = Registry(Database(database_url, room="registry", migrations=MIGRATIONS))
    yield made
    made.close()
    made.db.close()


class Interrupted(Exception):
    """A transaction of a test is rolled back."""


def change(own: Registry, name: str, number: int, before_commit: Callable[[], object] = lambda: None) -> None:
    """A change of a model in a transaction of its own, with something that happens just before it commits."""
    with own.db.write() as tx:
        model = model_rows.lock(tx, "default", name)
        assert model is not None
        journal.write(tx, model, [Change("model.tags_set", {}, {}, {"tags": {"n": str(number)}})], now=number)
        before_commit()


def interrupt() -> None:
    raise Interrupted


def told(events: list[Event], name: str) -> list[int]:
    """The numbers of the changes of a model, in the order in which they were told."""
    of_model = [event for event in events if event.model_name == name and event.type == "model.tags_set"]
    return [int(json.loads(event.payload)["tags"]["n"]) for event in of_model]


def test_an_event_says_what_was_done_to_which_model(registry: Registry) -> None:
    model = registry.a_model("fraud")
    registry.a_version("fraud")
    registry.aliases.point("default", "fraud", "champion", 1)

    last = registry.followed()[-1]

    assert last == Event(
        event_id=last.event_id,
        type="alias.set",
        workspace="default",
        model_id=model.model_id,
        model_name="fraud",
        version_number=1,
        create_time=registry.clock.now(),
        audit_sequence=2,
        payload='{"alias":"champion","previous_version_number":0}',
        position=2,
    )
    assert len(last.event_id) == 32


def test_each_audit_record_has_its_event(registry: Registry) -> None:
    model_id = registry.a_model("fraud", description="x").model_id
    registry.models.set_tags("default", "fraud", {"k": "v"})
    registry.update("fraud", name="scam")
    registry.models.delete("default", "scam")

    events = registry.followed()
    said = [(record.sequence, record.members()["action"]) for record in registry.records(model_id=model_id)]
    assert [(event.audit_sequence, event.type) for event in events] == said
    assert [event.model_name for event in events] == ["fraud", "fraud", "scam", "scam"]
    assert json.loads(events[2].payload) == {"changed_fields": ["name"], "previous_name": "fraud"}


def test_positions_are_those_of_the_workspace_alone(registry: Registry) -> None:
    with registry.db.write() as tx:
        for workspace in ("default", "other", "other", "default"):
            event = Event(workspace * 2, "model.deleted", workspace, "0" * 32, "fraud", 0, 1, 1, "{}")
            event_rows.append(tx, [event])

    registry.events.number()

    with registry.db.read() as tx:
        found = {
            workspace: event_rows.page(tx, workspace, ALL, after=0, until=9, model_name="", types=(), limit=9)
            for workspace in ("default", "other")
        }
    assert {workspace: [event.position for event in events] for workspace, events in found.items()} == {
        "default": [1, 2],
        "other": [1, 2],
    }


def test_a_reader_need_not_wait_for_the_background_job(registry: Registry) -> None:
    registry.a_model("fraud")

    assert [event.position for event in registry.followed()] == [1]


def test_the_background_job_numbers_what_nobody_has_read(registry: Registry) -> None:
    registry.a_model("fraud")

    registry.events.number()

    with registry.db.read() as tx:
        assert not event_rows.has_unnumbered(tx, "default", ALL)
        assert event_rows.last_position(tx, "default", ALL) == 1


def test_more_events_than_one_transaction_numbers_are_all_numbered(registry: Registry) -> None:
    event = Event("0" * 32, "model.deleted", "default", "0" * 32, "fraud", 0, 1, 1, "{}")
    with registry.db.write() as tx:
        event_rows.append(tx, [event] * 2500)

    registry.events.number()

    with registry.db.read() as tx:
        assert event_rows.last_position(tx, "default", ALL) == 2500


@pytest.mark.parametrize("readers", [1, 3])
def test_who_follows_under_load_misses_nothing_sees_nothing_twice_and_keeps_the_order_of_each_model(
    registry: Registry, other: Registry, readers: int
) -> None:
    names = [f"model-{writer}" for writer in range(WRITERS)]
    for name in names:
        registry.a_model(name)
    writing = threading.Event()

    def write(writer: int) -> None:
        own, chance = (registry, other)[writer % 2], random.Random(writer)
        for number in range(CHANGES):
            # Some transactions stay open for a while, in which others commit; some are rolled back.
            change(own, names[writer], number, lambda: writing.wait(chance.choice((0, 0, 0.002, 0.02))))
            with pytest.raises(Interrupted):
                change(own, names[writer], -1, interrupt)

    def follow(own: Registry) -> list[Event]:
        cursor, seen = "", list[Event]()
        while True:
            is_last_look = writing.is_set()
            page = own.event_page("default", cursor, limit=7)
            seen += [event for event, _ in page.events]
            cursor = page.next_cursor
            if is_last_look and not page.events:
                return seen

    def relay() -> None:
        while not writing.is_set():
            other.events.number()

    with ThreadPoolExecutor(WRITERS + readers + 1) as pool:
        following = [pool.submit(follow, (registry, other)[reader % 2]) for reader in range(readers)]
        relaying = pool.submit(relay)
        for written in [pool.submit(write, writer) for writer in range(WRITERS)]:
            written.result()
        writing.set()
        relaying.result()
        followed = [each.result() for each in following]

    for seen in followed:
        assert [event.position for event in seen] == list(range(1, WRITERS * (CHANGES + 1) + 1))
        assert len({event.event_id for event in seen}) == len(seen)
        for name in names:
            assert told(seen, name) == list(range(CHANGES))


def test_a_transaction_that_commits_late_is_not_skipped(registry: Registry, other: Registry, database_url: str) -> None:
    for name in ("slow", "quick"):
        registry.a_model(name)
    cursor = registry.event_page("default", "", limit=9).next_cursor
    if database_url.startswith("sqlite"):
        change(registry, "slow", 1)
        change(other, "quick", 2)
        assert [event.model_name for event in registry.followed(cursor)] == ["slow", "quick"]
        return
    written, seen = threading.Event(), threading.Event()

    def stay_open() -> None:
        written.set()
        assert seen.wait(20)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(change, registry, "slow", 1, stay_open)
        assert written.wait(20)
        change(other, "quick", 2)
        first = other.event_page("default", cursor, limit=9)
        seen.set()
        slow.result()

    assert [event.model_name for event, _ in first.events] == ["quick"]
    assert [event.model_name for event in other.followed(first.next_cursor)] == ["slow"]


def test_events_are_filtered_by_model_and_type(registry: Registry) -> None:
    for name in ("fraud", "churn"):
        registry.a_model(name)
    registry.models.set_tags("default", "fraud", {"k": "v"})

    def positions(model_name: str = "", *types: str) -> list[int | None]:
        page = registry.event_page("default", "", model_name=model_name, types=lambda: types, limit=9)
        return [event.position for event, _ in page.events]

    assert positions("fraud") == [1, 3]
    assert positions("", "model.created") == [1, 2]
    assert positions("fraud", "model.created", "model.deleted") == [1]
    assert positions("none") == []


def test_the_next_cursor_passes_what_the_filter_left_out_also_on_an_empty_page(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_model("churn")

    empty = registry.event_page("default", "", model_name="none", limit=9)
    partly = registry.event_page("default", "", model_name="fraud", limit=9)
    full = registry.event_page("default", "", model_name="fraud", limit=1)

    assert (empty.events, registry.followed(empty.next_cursor)) == ([], [])
    assert registry.followed(partly.next_cursor) == []
    assert [event.model_name for event in registry.followed(full.next_cursor)] == ["churn"]


def test_there_is_a_next_cursor_before_the_first_event(registry: Registry) -> None:
    before = registry.event_page("default", "", limit=9)
    registry.a_model("fraud")

    assert before.events == []
    assert [event.model_name for event in registry.followed(before.next_cursor)] == ["fraud"]
    assert registry.followed(registry.event_page("default", "", limit=9).next_cursor) == []


@pytest.mark.parametrize("forge", ["workspace", "secret", "text", "position", "other"])
def test_a_cursor_that_was_not_given_out_for_this_workspace_is_refused(registry: Registry, forge: str) -> None:
    registry.a_model("fraud")
    mine, secret = registry.event_page("default", "", limit=9).next_cursor, Pager(b"a secret for tests")
    cursor = {
        "workspace": secret.cursor(("events", "other"), (1, "0" * 32)),
        "secret": Pager(b"quite another secret").cursor(("events", "default"), (1, "0" * 32)),
        "text": "x" * 10_000,
        "position": "1",
        "other": mine[:-1],
    }[forge]

    with pytest.raises(CursorInvalid) as refusal:
        registry.followed(cursor)

    assert list(refusal.value.violations) == ["after_cursor"]


@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_cursor_after_an_event_that_is_not_stored_is_told_the_oldest_and_the_newest(
    registry: Registry, position: int
) -> None:
    for name in ("fraud", "churn"):
        registry.a_model(name)
    lost = Pager(b"a secret for tests").cursor(("events", "default"), (position, "0" * 32))

    with pytest.raises(CursorOutOfRange) as refusal:
        registry.followed(lost)

    oldest, newest = (refusal.value.metadata[name] for name in ("oldest_cursor", "newest_cursor"))
    assert [event.model_name for event in registry.followed(oldest)] == ["fraud", "churn"]
    assert registry.followed(newest) == []


def test_a_model_name_beyond_its_limit_is_refused(registry: Registry) -> None:
    with pytest.raises(FieldInvalid, match="model_name"):
        registry.event_page("default", "", model_name="x" * 251, limit=1)


def test_a_workspace_is_required(registry: Registry) -> None:
    with pytest.raises(FieldInvalid, match="workspace: is required"):
        registry.event_page("", "", limit=1)


def test_without_access_nothing_is_said_of_other_workspaces(registry: Registry) -> None:
    with pytest.raises(ServiceUnavailable) as refusal:
        registry.event_page("other", "", limit=1)

    assert refusal.value.metadata["service"] == "access"
