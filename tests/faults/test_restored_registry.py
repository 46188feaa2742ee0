"""The registry is restored from a backup: a reader of events is told if it had read what was lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modelry.api.registry import v1 as api
from tests.contract.registry.conftest import WORKSPACE, Platform
from tests.parts.deployment import Deployment, running
from tests.parts.refusal import refused

LOST = 5
NEW = 8


def copy(source: Path, target: Path) -> None:
    """Copies a SQLite database, as `sqlite3 SOURCE ".backup TARGET"` does."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """The platform at work on SQLite files."""
    with running("all", tmp_path / "platform") as started:
        yield started


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    """The stubs of the platform."""
    return Platform.of(deployment)


def change(platform: Platform, model_name: str, count: int) -> None:
    """Makes changes of a model: an event each."""
    for number in range(count):
        request = api.SetModelTagsRequest(workspace=WORKSPACE, model_name=model_name, tags={"n": str(number)})
        platform.models.SetModelTags(request, wait_for_ready=True)


def after(cursor: str) -> api.ListEventsRequest:
    return api.ListEventsRequest(workspace=WORKSPACE, after_cursor=cursor)


def test_a_reader_never_skips_an_event_in_silence_after_a_restore(
    deployment: Deployment, platform: Platform, tmp_path: Path
) -> None:
    database, backup = deployment.folder / "registry.db", tmp_path / "backup.db"
    model = platform.a_model().name
    change(platform, model, 2)
    slow_reader = platform.events.ListEvents(after("")).next_cursor
    copy(database, backup)
    change(platform, model, LOST)
    read = platform.events.ListEvents(after(slow_reader))
    assert len(read.events) == LOST

    deployment.kill()
    copy(backup, database)
    deployment.start()
    change(platform, model, NEW)

    for cursor in [event.cursor for event in read.events] + [read.next_cursor]:
        refusal = refused(platform.events.ListEvents, after(cursor))
        assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert len(platform.events.ListEvents(after(slow_reader)).events) == NEW
    assert platform.events.ListEvents(after(refusal.metadata["newest_cursor"])).events == []
    everything = platform.events.ListEvents(after(refusal.metadata["oldest_cursor"])).events
    assert len(everything) == 3 + NEW
    assert everything == platform.events.ListEvents(after("")).events
