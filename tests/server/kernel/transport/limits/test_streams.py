"""Open streams: a share for each connection, and those who hold many make room for those who hold few."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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


def test_of_busy_streams_a_connection_gives_up_those_that_it_has_beyond_one_more_than_the_new_one() -> None:
    clients = Clients(Streams("stream", 4, 4, 60.0))
    for name, waits_s in (("a", None), ("b", 0.1), ("c", 0.2), ("d", None)):
        clients.hold("many", name, waits_s=waits_s)

    clients.hold("new", "new 1", waits_s=None)
    clients.hold("new", "new 2", waits_s=None)

    assert clients.ended == ["c", "b"]
    with pytest.raises(TooManyStreams) as caught:
        clients.hold("new", "new 3", waits_s=None)
    assert caught.value.metadata == {"limit": "4", "of_one": "4"}


def test_busy_streams_of_which_each_connection_has_one_are_not_ended() -> None:
    clients = Clients(Streams("stream", 3, 3, 60.0))
    for peer, waits_s in (("a", None), ("b", 0.1), ("c", None)):
        clients.hold(peer, peer, waits_s=waits_s)

    with pytest.raises(TooManyStreams):
        clients.hold("new", "new", waits_s=None)

    assert clients.ended == []


def test_a_connection_whose_many_streams_are_busy_keeps_them_while_another_one_has_late_ones() -> None:
    clients = Clients(Streams("stream", 6, 4, 60.0))
    for number in range(4):
        clients.hold("busy", f"busy {number}", waits_s=0.1)
    for number in range(2):
        clients.hold("late", f"late {number}", waits_s=2 + number)

    clients.hold("new", "new", waits_s=None)

    assert clients.ended == ["late 1"]


@pytest.mark.parametrize("way", [Stream.received, Stream.sent])
def test_a_stream_with_a_byte_now_and_then_falls_behind_and_a_fast_one_does_not(way: Any) -> None:
    def behind(waited_s: float, sizes: list[int]) -> float:
        stream = Stream(_context("a", lambda: None))
        for number, _ in enumerate(way(stream, map(random.randbytes, _meanwhile(stream, waited_s, sizes)))):
            if way is Stream.sent:
                stream.waits_since -= waited_s
            assert number < len(sizes)
        return stream.behind_s()

    def _meanwhile(stream: Stream, waited_s: float, sizes: list[int]) -> Iterator[int]:
        for size in sizes:
            if way is Stream.received:
                stream.waits_since -= waited_s
            yield size

    assert behind(0.4, [1] * 10) == pytest.approx(4, abs=0.1)
    assert behind(0.4, [64 << 10] * 10) == 0
    assert behind(0.4, [1 << 20, *[1] * 10]) == pytest.approx(4, abs=0.1)  # what was fast before does not help


@pytest.mark.parametrize(
    ("message", "waited_s", "behind_s"),
    [
        pytest.param(bytes(4200), 0.9, 9, id="39 bytes on the wire"),
        pytest.param(bytes(1 << 20), 10.0, 88, id="1 kB on the wire"),
        pytest.param(b"".join(b"loss,%d\n" % at for at in range(100_000)), 0.9, 0, id="a text"),
        pytest.param(bytes(1 << 20), 0.2, 0, id="not late"),
    ],
)
def test_a_message_that_comes_late_counts_as_it_may_have_come_compressed(
    message: bytes, waited_s: float, behind_s: float
) -> None:
    stream = Stream(_context("a", lambda: None))

    def sent() -> Iterator[bytes]:
        for _ in range(10):
            stream.waits_since -= waited_s
            yield message

    for _ in stream.received(sent()):
        pass

    assert stream.behind_s() == pytest.approx(behind_s, abs=behind_s / 10)


def test_one_connection_ends_no_stream_for_more_than_its_share() -> None:
    clients = Clients(Streams("stream", 4, 2, 60.0))
    for peer in ("a", "b"):
        for number in (1, 2):
            clients.hold(peer, f"{peer} {number}", waits_s=5)

    with pytest.raises(TooManyStreams):
        clients.hold("a", "a 3", waits_s=None)

    assert clients.ended == []


def test_the_oldest_is_ended_where_age_counts() -> None:
    clients = Clients(Streams("watch", 2, 2, 60.0, lateness=Stream.age_s))
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
