"""A disk that is full half-way: what is written is whole or not there, and what is lost is said."""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelry._sdk.recording.refusals import Refusals
from modelry._sdk.recording.source import Backlog
from modelry._sdk.spooling.queued import LOG_BATCH, QueuedRequest
from modelry._sdk.spooling.spool import Spool, left_in
from modelry.api.tracking.v1.run_service_pb2 import LogBatchRequest

SERVER = {"address": "127.0.0.1:1", "workspace": "default"}
SIZE = 20_000


class _Disk:
    """A disk: `left` bytes are free, it writes at most so many `at_once`, and a file has at `most` so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = self.at_once = self.most = 1 << 30
        pwrite, write, unlink = os.pwrite, os.write, os.unlink

        def count(data: bytes, position: int) -> bytes:
            data = data[: max(0, min(self.left, self.at_once, self.most - position))]
            if not data:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= len(data)
            return data

        def free(path: Path) -> None:
            self.left += path.stat().st_size
            unlink(path)

        monkeypatch.setattr(os, "unlink", free)
        monkeypatch.setattr(os, "pwrite", lambda file, data, position: pwrite(file, count(data, position), position))
        monkeypatch.setattr(os, "write", lambda file, data: write(file, count(data, 0)))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> _Disk:
    return _Disk(monkeypatch)


def _request(tag: str) -> QueuedRequest:
    message = LogBatchRequest(run_id="0" * 32, tags={tag: "v" * SIZE})
    return QueuedRequest(LOG_BATCH, message.SerializeToString())


def _tags(path: Path) -> list[str]:
    """What waits in a spool, in order."""
    spool, found = Spool.peek(path), list[str]()
    while (request := spool.next()) is not None:
        found += LogBatchRequest.FromString(request.content).tags
    spool.let_go()
    return found


def _backlog(folder: Path) -> tuple[Backlog, Any]:
    """A backlog that is offline, and its delivery, which has nothing under way."""
    delivery: Any = SimpleNamespace(**SERVER, target="", unanswered=[])
    agenda: Any = SimpleNamespace(take=list, points=0, is_late=False, is_due=False)
    made = Backlog(agenda, delivery, folder=folder, buffer_points=100, refusals=Refusals(), forget=lambda _: None)
    made.go_offline("no server")
    return made, delivery


def _log(backlog: Backlog, *tags: str) -> None:
    backlog._queue.extend(map(_request, tags))
    backlog._spool_queue()


def test_a_header_is_written_whole(spool: Path, disk: _Disk) -> None:
    disk.at_once = 10

    made = Spool.create(spool, SERVER)
    made.close()

    assert Spool.open(made.path).server.items() >= SERVER.items()


def test_a_spool_that_its_header_does_not_fit_in_is_none(spool: Path, disk: _Disk) -> None:
    disk.left = 20

    with pytest.raises(OSError, match="No space"):
        Spool.create(spool, SERVER)

    assert list(spool.iterdir()) == []


def test_at_exit_what_is_under_way_comes_first(spool: Path) -> None:
    backlog, delivery = _backlog(spool)
    _log(backlog, "later", "last")
    delivery.unanswered = [_request("under way")]

    backlog.conclude()
    backlog.close()

    (path,) = spool.iterdir()
    assert _tags(path) == ["under way", "later", "last"]


def test_at_exit_what_is_under_way_is_kept_behind_the_rest_where_both_do_not_fit_again(
    spool: Path, disk: _Disk
) -> None:
    backlog, delivery = _backlog(spool)
    _log(backlog, "later")
    delivery.unanswered = [_request("under way")]
    disk.left = SIZE + SIZE // 2

    backlog.conclude()
    backlog.close()

    (path,) = spool.iterdir()
    assert _tags(path) == ["later", "under way"]


def test_at_exit_what_is_lost_is_said(spool: Path, disk: _Disk, caplog: pytest.LogCaptureFixture) -> None:
    backlog, delivery = _backlog(spool)
    _log(backlog, "later")
    delivery.unanswered = [_request("under way")]
    disk.most = SIZE + SIZE // 2

    with caplog.at_level(logging.WARNING, "modelry"):
        backlog.conclude()
    backlog.close()

    (path,) = spool.iterdir()
    assert path in left_in(spool)
    assert _tags(path) == ["later"]
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("lost: 1 entry")]


def test_a_spool_that_cant_be_begun_leaves_the_one_before_as_it_was(spool: Path, disk: _Disk) -> None:
    backlog, delivery = _backlog(spool)
    _log(backlog, "first", "second", "third")
    taken = deque[QueuedRequest]()
    assert backlog.take_to(taken)
    delivery.unanswered = [_request("under way"), *taken]
    disk.left = SIZE * 5 // 2

    assert not backlog._open_spool()

    disk.left = 1 << 30
    for request in delivery.unanswered:
        backlog.done(request)
    (path,) = spool.iterdir()
    assert path == backlog.path
    assert _tags(path) == ["second", "third"]
    assert backlog.take_to(taken)
    assert list(LogBatchRequest.FromString(taken[-1].content).tags) == ["second"]
