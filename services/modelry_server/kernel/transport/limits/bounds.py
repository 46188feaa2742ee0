"""All limits of one listener, in one object."""

from collections.abc import Callable
from dataclasses import dataclass

from modelry_server.kernel.transport.limits.gate import Gate
from modelry_server.kernel.transport.limits.held import held, limit
from modelry_server.kernel.transport.limits.streams import Streams
from modelry_server.kernel.transport.limits.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Bounds:
    """What calls of one listener may take at once.

    `work` has the places of unary calls at work, `searches` those of searches among them, `steps` those of streams that
    make their next message, `large` those of large messages that are parsed. `streams` are the open streams, `watches`
    those of health, `reflections` those of reflection. `arriving` are the calls whose message is still to come,
    `unread` the bytes of answers that their clients have not taken. `call_s` is how long a unary call may take.
    """

    work: Gate
    searches: Gate
    steps: Gate
    large: Gate
    streams: Streams
    watches: Streams
    reflections: Streams
    arriving: Waiting
    unread: Waiting
    call_s: float

    @property
    def streams_of_one(self) -> int:
        """How many streams of all kinds one connection may have open."""
        return self.streams.of_one + self.watches.of_one + self.reflections.of_one

    def show(self, listener: str) -> None:
        """Lets Prometheus ask how much of it clients hold, and how much they can hold."""
        kinds: dict[str, tuple[int, Callable[[], float]]] = {
            "work": (self.work.places, lambda: self.work.taken),
            "work_waiting": (self.work.waiters, lambda: self.work.waiting),
            "work_waiting_bytes": (self.work.most_bytes, lambda: self.work.waiting_bytes),
            "search": (self.searches.places, lambda: self.searches.taken),
            "search_waiting": (self.searches.waiters, lambda: self.searches.waiting),
            "search_waiting_bytes": (self.searches.most_bytes, lambda: self.searches.waiting_bytes),
            "large_waiting_bytes": (self.large.most_bytes, lambda: self.large.waiting_bytes),
            "stream": (self.streams.places, lambda: self.streams.count),
            "watch": (self.watches.places, lambda: self.watches.count),
            "reflection": (self.reflections.places, lambda: self.reflections.count),
            "message": (self.arriving.limit, lambda: self.arriving.held),
            "reader_bytes": (self.unread.limit, lambda: self.unread.held),
        }
        for kind, (most, count) in kinds.items():
            limit.labels(listener, kind).set(most)
            held.labels(listener, kind).set_function(count)
