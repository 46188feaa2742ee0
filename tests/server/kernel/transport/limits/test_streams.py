"""Open streams: a share for each connection, and those who hold many make room for those who hold few."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter
from typing import Any

import pytest

from modelry_server.kernel.errors import TooManyStreams
from modelry_server.kernel.transport.limits.streams import Stream, Streams
from tests.parts.eventually import eventually


class Clients:
    """Clients that hold streams until these are cancelled."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.ended: list[str] = []
        self._stack = ExitStack()

    def hold(self, peer: str, name: str, *, waits_s: float | None, open_s: float = 0.0) -> None:
        """One more stream; it has waited `waits_s` for its client, or does not wait."""
        place = ExitStack()
        stream = place.enter_context(self.streams.place(_context(peer, lambda: self._end(name, place))))
        stream.opened -= open_s
        if waits_s is not None:
            stream.waits_since = time.monotonic() - waits_s

    def _end(self, name: str, place: ExitStack) -> None:
        self.ended.append(name)
        place.close()


class _Context:
    def __init__(self, peer: str, cancel: Any) -> None:
        self.peer, self.cancel = lambda: peer, cancel


def _context(peer: str, cancel: Any) -> Any:
    return _Context(peer, cancel)


def test_one_more_ends_the_stream_that_has_waited_longest_of_the_connection_that_holds_the_most() -> None:
    clients = Clients(Streams("stream", 6, 3, 60.0))
    clients.hold("few", "few", waits_s=30)
    clients.hold("some", "some 1", waits_s=20)
    clients.hold("some", "some 2", waits_s=20)
    for name, waits_s in (("many 1", 2), ("many 2", 3), ("many 3", None)):
        clients.hold("many", name, waits_s=waits_s)

    clients.hold("new", "new 1", waits_s=None)
    clients.hold("new", "new 2", waits_s=None)  # now three connections have two: nobody has more than it would

    assert clients.ended == ["many 2", "some 1"]
    with pytest.raises(TooManyStreams):
        clients.hold("new", "new 3", waits_s=None)
    assert clients.streams.count == 6


def test_streams_that_do_not_wait_or_have_just_begun_to_are_not_ended() -> None:
    clients = Clients(Streams("stream", 3, 3, 60.0))
    for name, waits_s in (("a", None), ("b", 0.1), ("c", None)):
        clients.hold("many", name, waits_s=waits_s)

    with pytest.raises(TooManyStreams) as caught:
        clients.hold("new", "new", waits_s=None)

    assert (caught.value.metadata, clients.ended) == ({"limit": "3", "of_one": "3"}, [])


def test_one_connection_ends_no_stream_for_more_than_its_share() -> None:
    clients = Clients(Streams("stream", 4, 2, 60.0))
    for peer in ("a", "b"):
        for number in (1, 2):
            clients.hold(peer, f"{peer} {number}", waits_s=5)

    with pytest.raises(TooManyStreams):
        clients.hold("a", "a 3", waits_s=None)

    assert clients.ended == []


def test_the_oldest_is_ended_where_age_counts() -> None:
    clients = Clients(Streams("watch", 2, 2, 60.0, since=attrgetter("opened")))
    clients.hold("many", "young", waits_s=None, open_s=10)
    clients.hold("many", "old", waits_s=None, open_s=20)

    clients.hold("new", "new", waits_s=None)

    assert clients.ended == ["old"]


def test_a_stream_waits_for_the_thread_of_the_one_that_was_ended_but_not_for_long() -> None:
    streams, cancelled = Streams("stream", 1, 1, 60.0), threading.Event()
    first: Any = streams.place(_context("a", cancelled.set))
    stream: Stream = first.__enter__()
    stream.waits_since = time.monotonic() - 5

    def enter(peer: str) -> bool:
        with streams.place(_context(peer, lambda: None)):
            return True

    with pytest.raises(TooManyStreams):
        enter("b")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(enter, "c")
        eventually(lambda: streams.count)
        assert (cancelled.is_set(), waiting.done()) == (True, False)
        first.__exit__(None, None, None)
        assert waiting.result(10)
    assert streams.count == 0
