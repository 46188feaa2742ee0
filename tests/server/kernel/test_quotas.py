from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from modelry_server.kernel import quotas
from modelry_server.kernel.errors import QuotaExceeded
from modelry_server.kernel.quotas import Quota
from tests.parts.eventually import at_once, of


class Shelf:
    """Where things are made, by one process or several. `limit` is how many there may be."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.there = 0
        self.counts = 0
        self.time = 0.0
        self._lock = threading.Lock()

    def process(self) -> Quota:
        """One more process that makes things."""
        return Quota("thing_count", limit=lambda _: self.limit, count=self._count, frees="sell", now=lambda: self.time)

    def put(self, quota: Quota, amount: int = 1) -> None:
        """Makes things."""
        with quota.taking("red") as taking:
            taking.take(amount)
            with self._lock:
                self.there += amount

    def remove(self, amount: int = 1) -> None:
        """Removes things."""
        with self._lock:
            self.there -= amount

    def _count(self, workspace: str) -> int:
        assert workspace == "red"
        with self._lock:
            self.counts += 1
            return self.there


def test_without_a_limit_nothing_is_counted() -> None:
    shelf = Shelf(None)
    quota = shelf.process()

    for _ in range(100):
        shelf.put(quota)

    assert (shelf.there, shelf.counts) == (100, 0)


def test_what_there_is_no_room_for_is_refused_with_the_numbers() -> None:
    shelf = Shelf(10)
    quota = shelf.process()
    shelf.put(quota, 8)

    with pytest.raises(QuotaExceeded) as refusal:
        shelf.put(quota, 3)
    shelf.put(quota, 2)

    assert refusal.value.metadata == {"workspace": "red", "quota": "thing_count", "used": "8", "limit": "10"}
    assert (
        "has no room for 3 more: its thing_count is 8, and the quota is 10; nothing was written; sell, or ask"
        in str(refusal.value)
    )
    assert refusal.value.exceeded == {"workspace:red": refusal.value.message}
    assert shelf.there == 10


def test_a_limit_of_0_lets_nothing_in_and_what_is_there_already_stays() -> None:
    shelf = Shelf(0)
    quota = shelf.process()

    for there in (0, 3):
        shelf.there = there
        shelf.time += quotas.FULL_S
        with pytest.raises(QuotaExceeded) as refusal:
            shelf.put(quota)
        assert refusal.value.metadata == {
            "workspace": "red",
            "quota": "thing_count",
            "used": str(there),
            "limit": "0",
        }
        assert str(refusal.value).endswith(
            f"the workspace 'red' takes nothing more: its thing_count is {there}, and the quota is 0; nothing was "
            "written; ask an administrator of the installation for a higher quota"
        )
        assert shelf.there == there


def test_a_limit_that_is_lifted_or_set_counts_at_once() -> None:
    shelf = Shelf(0)
    quota = shelf.process()
    with pytest.raises(QuotaExceeded):
        shelf.put(quota)

    shelf.limit = None
    shelf.put(quota, 5)
    shelf.limit = 0
    with pytest.raises(QuotaExceeded):
        shelf.put(quota)

    assert shelf.there == 5


def test_much_room_is_given_out_with_few_counts_and_little_room_with_one_for_each() -> None:
    shelf = Shelf(10_000)
    quota = shelf.process()

    for _ in range(9_000):
        shelf.put(quota)
    for_most = shelf.counts
    for _ in range(1_000):
        shelf.put(quota)
    with pytest.raises(QuotaExceeded):
        shelf.put(quota)

    assert for_most <= 30
    assert shelf.counts <= 100
    assert shelf.there == 10_000


def test_a_count_is_made_anew_after_some_seconds() -> None:
    shelf = Shelf(1_000)
    quota = shelf.process()
    shelf.put(quota)

    shelf.time += quotas.COUNTED_S - 0.1
    shelf.put(quota)
    before = shelf.counts
    shelf.time += 0.2
    shelf.put(quota)

    assert (before, shelf.counts) == (1, 2)


def test_a_full_workspace_is_counted_once_a_second_however_often_it_is_asked_for_more() -> None:
    shelf = Shelf(1)
    quota = shelf.process()
    shelf.put(quota)
    before = shelf.counts

    for _ in range(100):
        with pytest.raises(QuotaExceeded):
            shelf.put(quota)

    assert shelf.counts - before == 1


def test_what_was_removed_makes_room_within_a_second_and_a_higher_limit_at_once() -> None:
    shelf = Shelf(1)
    quota = shelf.process()
    shelf.put(quota)
    with pytest.raises(QuotaExceeded):
        shelf.put(quota)

    shelf.remove()
    shelf.time += quotas.FULL_S
    shelf.put(quota)
    with pytest.raises(QuotaExceeded):
        shelf.put(quota)
    shelf.limit = 2
    shelf.put(quota)

    assert shelf.there == 2


def test_what_fails_gives_back_what_it_took() -> None:
    shelf = Shelf(1)
    quota = shelf.process()

    for _ in range(3):
        with suppress(ValueError), quota.taking("red") as taking:
            taking.take()
            raise ValueError("no luck")
    shelf.put(quota)

    assert shelf.there == 1


def test_who_finds_the_rest_held_by_others_waits_for_them_and_is_then_let_in_or_not() -> None:
    shelf = Shelf(1)
    quota = Quota("thing_count", limit=lambda _: 1, count=lambda _: shelf.there)
    answers: list[str] = []

    def wait() -> None:
        try:
            shelf.put(quota)
            answers.append("let in")
        except QuotaExceeded as refusal:
            answers.append(f"refused at {refusal.metadata['used']}")

    for fails in (True, False):
        waiting = threading.Thread(target=wait)
        with suppress(ValueError), quota.taking("red") as taking:
            taking.take()
            waiting.start()
            if fails:
                raise ValueError("no luck")
            shelf.there += 1
        waiting.join(10)
        shelf.there = 0

    assert answers == ["let in", "refused at 1"]


def test_a_long_holder_is_waited_for_a_second_at_most() -> None:
    quota = Quota("thing_count", limit=lambda _: 10, count=lambda _: 2)

    with quota.taking("red") as holder:
        holder.take(8)
        with pytest.raises(QuotaExceeded) as refusal, quota.taking("red") as taking:
            taking.take(1)

    assert refusal.value.metadata["used"] == "10"


@pytest.mark.parametrize("limit", [1, 7, 50, 300])
def test_one_process_never_makes_more_than_there_is_room_for_and_fills_it(limit: int) -> None:
    shelf = Shelf(limit)
    quota = shelf.process()

    outcomes = _by(16, [quota], shelf, each=limit // 8 + 2)

    assert shelf.there == limit
    assert sum(outcomes) == limit


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_exceed_a_limit_by_a_tenth_and_what_is_under_way_in_each_other_one_at_most(
    processes: int,
) -> None:
    threads = 4
    for limit in (5, 40, 200):
        shelf = Shelf(limit)
        several = [shelf.process() for _ in range(processes)]

        _by(threads, several, shelf, each=limit // threads + 2)

        assert limit <= shelf.there <= limit + (processes - 1) * (limit // quotas.PART + threads)


def _by(threads: int, several: Sequence[Quota], shelf: Shelf, *, each: int) -> list[bool]:
    """All threads of all processes make things until they are refused, at most `each`; which were let in."""

    def one(quota: Quota) -> Callable[[], list[bool]]:
        def work() -> list[bool]:
            made = []
            for _ in range(each):
                try:
                    shelf.put(quota)
                    made.append(True)
                except QuotaExceeded:
                    made.append(False)
            return made

        return work

    answers = at_once([one(quota) for quota in several for _ in range(threads)])
    assert of(Exception, answers) == []
    return [made for answer in of(list, answers) for made in answer]


def test_workspaces_are_apart() -> None:
    quota = Quota("thing_count", limit=lambda name: 1 if name == "red" else 2, count=lambda _: 1)

    with quota.taking("blue") as taking:
        taking.take()

    with pytest.raises(QuotaExceeded), quota.taking("red") as taking:
        taking.take()
