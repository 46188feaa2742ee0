"""What those hear who watch for changes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.access.domain import changes as rules
from modelry_server.access.domain.changes import HEARTBEAT_S, KEPT_MS, Changes, Watch
from modelry_server.access.domain.tokens import Draft
from modelry_server.access.store import state
from modelry_server.databases import migrations
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.errors import DatabaseUnavailable
from modelry_server.kernel.sql.database import Database
from tests.server.access.conftest import Installation


def test_a_watcher_hears_at_once_that_it_is_heard(installation: Installation) -> None:
    watch = Watch(Changes(installation.db))

    began = time.monotonic()
    assert watch.next() == (0, [])

    assert time.monotonic() - began < HEARTBEAT_S


def test_a_change_of_this_process_is_told_at_once_and_once(installation: Installation) -> None:
    token, text = installation.token(installation.principal("ada"), Draft())
    watch = Watch(Changes(installation.db))
    watch.next()

    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(watch.next)
        with installation.by(text):
            installation.tokens.revoke("")
        _, changed = heard.result(10)
        if not changed:  # the heartbeat came first
            _, changed = watch.next()

    assert changed == [Changed(credential_id=token.token_id)]
    assert watch.next()[1] == []


def test_a_change_of_another_process_is_told(installation: Installation) -> None:
    token, text = installation.token(installation.principal("ada"), Draft())
    other = Database(installation.db.url, room="access", migrations=migrations("access"))
    try:
        watch = Watch(Changes(other))
        watch.next()
        with installation.by(text):
            installation.tokens.revoke("")

        heard = [watch.next()[1] for _ in range(2)]
    finally:
        other.close()

    assert [Changed(credential_id=token.token_id)] in heard


def test_a_watcher_hears_each_second_that_there_is_nothing(installation: Installation) -> None:
    watch = Watch(Changes(installation.db))
    watch.next()

    began = time.monotonic()
    assert not watch.wait(0.1)
    assert watch.next()[1] == []

    assert 0.5 * HEARTBEAT_S < time.monotonic() - began < 3 * HEARTBEAT_S


def test_all_watchers_of_a_process_share_what_is_asked(installation: Installation) -> None:
    changes = Changes(installation.db)
    watches = [Watch(changes) for _ in range(50)]

    began = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        for _ in range(3):
            list(pool.map(lambda each: each.next(), watches))

    assert changes.asked <= 2 + (time.monotonic() - began) / rules.POLL_S


def test_who_missed_changes_that_are_forgotten_forgets_everything(installation: Installation) -> None:
    changes = Changes(installation.db)
    revision, _ = changes.after(-1)
    _, text = installation.token(installation.principal("ada"))
    with installation.by(text):
        installation.tokens.revoke("")
    installation.clock.advance(KEPT_MS + 1)
    assert rules.forget(installation.db, installation.clock) == 1

    assert changes.after(revision)[1] == [Changed()]
    assert Changes(installation.db).after(revision)[1] == [Changed()]


def test_changes_are_kept_for_an_hour(installation: Installation) -> None:
    _, text = installation.token(installation.principal("ada"))
    with installation.by(text):
        installation.tokens.revoke("")
    installation.clock.advance(KEPT_MS)

    assert rules.forget(installation.db, installation.clock) == 0
    with installation.db.read() as tx:
        assert len(state.changes_after(tx, 0, 9)) == 1


def test_a_watcher_of_a_database_that_is_away_hears_the_error_and_no_heartbeat(installation: Installation) -> None:
    watch = Watch(Changes(installation.db))
    watch.next()

    installation.db.interrupt()

    with pytest.raises(DatabaseUnavailable):
        watch.next()


def test_many_changes_are_told_in_their_order_and_none_is_missing(installation: Installation) -> None:
    watch = Watch(Changes(installation.db))
    ada = installation.principal("ada")
    made = [installation.token(ada)[0].token_id for _ in range(30)]
    _, text = installation.token(ada)
    heard: list[str] = []

    def revoke() -> None:
        with installation.by(text):
            for token_id in made:
                installation.tokens.revoke(token_id)

    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(revoke)
        until = time.monotonic() + 30
        while len(heard) < len(made) and time.monotonic() < until:
            heard += [each.credential_id for each in watch.next()[1]]
        work.result()

    assert heard == made
