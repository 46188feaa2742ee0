from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest

from modelry._sdk.nouns.lazy_list import LazyList, each_of, listed_by
from modelry.errors import DataLoss


class Pages:
    """Ten numbers in pages, and how often a page was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def fetch(self, size: int, token: str) -> tuple[list[int], str]:
        self.asked += 1
        start = int(token or 0)
        end = min(start + size, 10)
        return list(range(start, end)), "" if end == 10 else str(end)

    def list(self) -> LazyList[int]:
        return listed_by(self.fetch, max_results=None, page_size=3)


def test_a_page_is_asked_for_when_it_is_reached() -> None:
    pages = Pages()
    numbers = pages.list()

    assert pages.asked == 0
    assert (numbers[0], pages.asked) == (0, 1)
    assert (numbers[2], pages.asked) == (2, 1)
    assert (numbers[3], pages.asked) == (3, 2)
    assert (bool(numbers), pages.asked) == (True, 2)


def test_it_is_a_list_in_every_other_way() -> None:
    numbers = Pages().list()

    assert numbers[1:4] == [1, 2, 3]
    assert numbers[-1] == 9
    assert numbers[::-1] == list(reversed(range(10)))
    assert len(numbers) == 10
    assert numbers == list(range(10))
    assert 7 in numbers
    assert repr(numbers) == repr(list(range(10)))
    with pytest.raises(IndexError):
        numbers[10]


def test_an_index_of_columns_says_that_this_is_no_table() -> None:
    with pytest.raises(TypeError, match="this is a list, so its index is a number, not 'run_id'"):
        Pages().list()["run_id"]  # type: ignore[call-overload]


def test_it_can_be_read_twice_and_asks_once() -> None:
    pages = Pages()
    numbers = pages.list()

    assert [*numbers, *numbers] == [*range(10), *range(10)]
    assert pages.asked == 4


def test_an_error_comes_where_the_page_is_reached() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ConnectionError("gone")

    numbers = LazyList(broken())

    assert numbers[0] == 1
    with pytest.raises(ConnectionError):
        numbers[1]


@pytest.mark.parametrize("page", [([1], "again"), ([], "again")])
def test_a_page_token_that_comes_again_is_refused(page: tuple[list[int], str]) -> None:
    with pytest.raises(DataLoss, match="list without an end"):
        len(listed_by(lambda size, token: page, max_results=None, page_size=3))


@pytest.mark.parametrize("items", [[1], []])
def test_pages_without_an_end_are_refused(items: list[int]) -> None:
    asked = 0

    def fetch(size: int, token: str) -> tuple[list[int], str]:
        nonlocal asked
        asked += 1
        return items, str(asked)

    with pytest.raises(DataLoss, match="list without an end"):
        len(listed_by(fetch, max_results=None, page_size=3))

    assert asked < 200


@pytest.mark.parametrize("pages", [2, 3, 7, 20])
def test_pages_that_come_round_with_new_tokens_are_refused(pages: int) -> None:
    asked = 0

    def fetch(size: int, token: str) -> tuple[list[int], str]:
        nonlocal asked
        asked += 1
        return [asked % pages], str(asked)

    with pytest.raises(DataLoss, match="list without an end"):
        len(listed_by(fetch, max_results=50_000, page_size=3))

    assert asked < 100


@pytest.mark.parametrize(("page_size", "most"), [(3, 3), (0, 1000), (5_000, 1000)])
def test_a_page_that_is_larger_than_asked_for_is_refused(page_size: int, most: int) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with pytest.raises(DataLoss, match=f"a page of more than {most} items"):
        len(listed_by(lambda size, token: (endless(), ""), max_results=None, page_size=page_size))

    assert taken == most + 1


def test_the_items_of_each_of_are_not_kept() -> None:
    items: weakref.WeakSet[Item] = weakref.WeakSet()

    def fetch(size: int, token: str) -> tuple[Iterator[Item], str]:
        page = [Item() for _ in range(size)]
        items.update(page)
        return iter(page), str(int(token or 0) + 1) if token != "63" else ""

    assert max(len(items) for _ in each_of(fetch, None, 10)) <= 40


class Item:
    """Something that can be counted."""
