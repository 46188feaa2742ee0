"""How events get their cursors."""

from dataclasses import replace

import pytest

from modelry_server.kernel.sql.database import Database
from modelry_server.registry.entities import Event
from modelry_server.registry.store import events as store

EVENT = Event(0, "default", "fraud", 1, "version.created", 1000, '{"k":"v"}')


def test_events_come_back_as_they_were_written_with_cursors_in_their_order(db: Database) -> None:
    with db.write() as tx:
        store.append(tx, [EVENT, replace(EVENT, number=2)])
        store.append(tx, [replace(EVENT, number=3)])

    with db.read() as tx:
        assert store.page(tx, "default", "", after=0, limit=9) == [
            replace(EVENT, cursor=number, number=number) for number in (1, 2, 3)
        ]
        assert store.last(tx) == 3


def test_a_transaction_that_fails_leaves_no_gap(db: Database) -> None:
    def fail() -> None:
        with db.write() as tx:
            store.append(tx, [EVENT])
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with db.write() as tx:
        store.append(tx, [EVENT])

    with db.read() as tx:
        assert [event.cursor for event in store.page(tx, "default", "", after=0, limit=9)] == [1]


def test_a_page_is_of_one_workspace_and_perhaps_of_one_model(db: Database) -> None:
    with db.write() as tx:
        store.append(tx, [EVENT, replace(EVENT, workspace="other"), replace(EVENT, model="churn"), EVENT])

    with db.read() as tx:
        assert [event.cursor for event in store.page(tx, "default", "", after=1, limit=9)] == [3, 4]
        assert [event.cursor for event in store.page(tx, "default", "fraud", after=0, limit=1)] == [1]
        assert [event.cursor for event in store.page(tx, "other", "", after=0, limit=9)] == [2]
