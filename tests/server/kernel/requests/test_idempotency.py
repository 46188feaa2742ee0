"""Requests that may come twice: whose they are, whether they ask for the same, and what they make once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelry.api.tracking import v1 as api
from modelry_server.access.store import tables
from modelry_server.databases import migrations
from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import RequestIdReused, RequestInFlight
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.idempotency import KEPT_MS, Request, Requests
from modelry_server.kernel.sql.database import Database
from tests.parts.clock import HeldClock
from tests.parts.eventually import at_once, of

FIRST = Request("ada", "CreateThing", "request-1", "digest-1")
ANY = Request("", "", "", "")


def test_the_same_request_has_the_same_digest_in_whatever_order_its_tags_were_given() -> None:
    names = [f"k{number}" for number in range(50)]
    first = api.CreateRunRequest(request_id="r", tags={name: "v" for name in names})
    second = api.CreateRunRequest(request_id="r", tags={name: "v" for name in reversed(names)})

    assert idempotency.request(first) == idempotency.request(second)


def test_another_field_another_rpc_and_another_caller_make_another_request() -> None:
    first = idempotency.request(api.CreateRunRequest(request_id="r"))
    with caller.using(Caller("ann", "0" * 32)):
        others = [
            idempotency.request(api.CreateRunRequest(request_id="r")),
            idempotency.request(api.CreateRunRequest(request_id="r", name="n")),
            idempotency.request(api.CreateExperimentRequest(request_id="r")),
        ]

    assert len({first, *others}) == 4
    assert [each.subject for each in others] == ["ann"] * 3


def test_a_request_without_an_id_is_for_once_only() -> None:
    assert idempotency.request(api.CreateRunRequest(name="n")).request_id == ""


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A database with a table of requests: that of access."""
    database = Database(database_url, room="access", migrations=migrations("access"))
    database.upgrade()
    yield database
    database.close()


class Things:
    """Makes things by name, once for each request. A name can be taken, and can become free."""

    def __init__(self, db: Database, clock: HeldClock) -> None:
        self.db, self.requests = db, Requests(tables.requests, clock)
        self.made: list[str] = []
        self.taken: dict[str, str | None] = {}

    def create(self, name: str, request: Request) -> str:
        """Makes a thing; gives the one that is in the way if it is an answer."""

        def make() -> tuple[str, str] | None:
            if name in self.taken:
                return None
            self.made.append(name)
            return name, f"made {name}"

        with self.db.write() as tx:
            return self.requests.once(
                tx, request, find=lambda known: f"found {known}", make=make, existing=lambda: self.taken.pop(name)
            )


@pytest.fixture
def things(db: Database, clock: HeldClock) -> Things:
    return Things(db, clock)


def test_the_same_request_again_answers_with_what_the_first_made(things: Things) -> None:
    answers = [things.create("a", FIRST) for _ in range(3)]

    assert answers == ["made a", "found a", "found a"]
    assert things.made == ["a"]


def test_without_a_request_id_each_call_makes_a_thing(things: Things) -> None:
    assert [things.create("a", ANY) for _ in range(2)] == ["made a", "made a"]


def test_another_caller_rpc_or_id_makes_another_thing_and_other_contents_are_refused(things: Things) -> None:
    things.create("a", FIRST)

    assert things.create("b", replace(FIRST, subject="eve")) == "made b"
    assert things.create("c", replace(FIRST, rpc="CreateOther")) == "made c"
    assert things.create("d", replace(FIRST, request_id="request-2")) == "made d"
    with pytest.raises(RequestIdReused, match="request-1"):
        things.create("e", replace(FIRST, digest="digest-2"))
    assert things.made == ["a", "b", "c", "d"]


def test_what_is_in_the_way_can_be_the_answer_and_is_not_remembered_as_made(things: Things) -> None:
    things.taken["a"] = "there a"

    assert things.create("a", FIRST) == "there a"
    assert things.create("a", FIRST) == "made a"


def test_what_was_in_the_way_and_is_gone_by_now_is_made_after_all(things: Things) -> None:
    things.taken["a"] = None

    assert things.create("a", FIRST) == "made a"


def test_an_error_remembers_nothing(things: Things) -> None:
    class Taken(Exception):
        pass

    def refuse() -> str:
        raise Taken

    with pytest.raises(Taken), things.db.write() as tx:
        things.requests.once(tx, FIRST, find=str, make=lambda: None, existing=refuse)

    assert things.create("a", FIRST) == "made a"


def test_of_the_same_request_many_times_at_once_all_answer_with_one_thing_or_ask_to_try_again(things: Things) -> None:
    answers = at_once([lambda: things.create("a", FIRST) for _ in range(16)])

    assert answers.count("made a") == 1
    assert len(answers) == len(of(str, answers)) + len(of(RequestInFlight, answers))
    assert things.create("a", FIRST) == "found a"


def test_a_request_is_remembered_for_a_day_and_its_row_is_removed_by_the_job(
    things: Things, clock: HeldClock, db: Database
) -> None:
    job = things.requests.job(db)
    things.create("a", FIRST)

    clock.advance(KEPT_MS - 1)
    job.run()
    before = things.create("a", FIRST)
    clock.advance(1)
    after = things.create("a", FIRST)
    clock.advance(KEPT_MS)
    job.run()
    with db.write() as tx:
        left = things.requests.forget(tx)

    assert (job.name, job.interval_s) == ("access.requests.forget", 3600.0)
    assert (before, after) == ("found a", "made a")
    assert left == 0
