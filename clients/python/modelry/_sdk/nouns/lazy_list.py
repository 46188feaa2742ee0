"""A list on the server that fetches its pages while it is read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, overload

from modelry._sdk.nouns.arguments import count
from modelry._sdk.transport.answers import malformed
from modelry._sdk.values.texts import shown

T = TypeVar("T")
Fetch = Callable[[int, str], tuple[Iterable[T], str]]
"""Fetches a page, given its size and its token. Returns the items and the token of the next page."""

LARGEST_PAGE = 1000
_MOST_EMPTY_PAGES = 100


class LazyList(Sequence[T]):
    """A list that fetches a page when the page is reached, and keeps what it has fetched.

    Nothing is fetched before the first item is read. `found[0]` and iterating fetch as far as needed. `len`, a negative
    index and printing fetch everything. A server's error is raised where the page is reached.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._rest = items
        self._fetched: list[T] = []

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if not isinstance(index, slice) and not hasattr(index, "__index__"):
            raise TypeError(
                f"this is a list, so its index is a number, not {shown(index)}; columns need a table, which "
                "modelry.search_runs returns if pandas is installed"
            )
        if isinstance(index, slice):
            from_the_start = (index.start or 0) >= 0 and index.stop is not None and index.stop >= 0
            self._fetch(index.stop if from_the_start and (index.step or 1) > 0 else None)
        else:
            self._fetch(index + 1 if index >= 0 else None)
        return self._fetched[index]

    def __iter__(self) -> Iterator[T]:
        position = 0
        while self._fetch(position + 1) > position:
            yield self._fetched[position]
            position += 1

    def __len__(self) -> int:
        return self._fetch(None)

    def __bool__(self) -> bool:
        return self._fetch(1) > 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LazyList | list | tuple):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def _fetch(self, wanted: int | None) -> int:
        while wanted is None or len(self._fetched) < wanted:
            for item in self._rest:
                self._fetched.append(item)
                break
            else:
                break
        return len(self._fetched)


def listed_by(fetch: Fetch[T], *, max_results: int | None, page_size: int) -> LazyList[T]:
    """The list whose pages `fetch` reads, with at most `max_results` items; None means all.

    Raises InvalidArgument at once if a number is not a whole number from 0. Reading the list raises DataLoss if a page
    is larger than asked for, or the server sends a page or a token again, or many pages with nothing. A list that goes
    on with new items can't be told from a long one: it ends where its reader stops, or at `max_results`.
    """
    return LazyList(each_of(fetch, count("max_results", max_results), count("page_size", page_size) or 0))


def each_of(fetch: Fetch[T], left: int | None, page_size: int) -> Iterator[T]:
    """The items of `listed_by`, none of which is kept."""
    token, tokens, before, empty = "", {""}, None, 0
    while left is None or left > 0:
        size = min(page_size if left is None else min(left, page_size or left), LARGEST_PAGE)
        found, token = fetch(size, token)
        items = page_of(found, size)
        empty = 0 if items else empty + 1
        if token and (token in tokens or (items and items == before) or empty > _MOST_EMPTY_PAGES):
            raise malformed(f"a list without an end: after {len(tokens)} pages the same page or nothing again")
        if len(tokens).bit_count() == 1:  # 1, 2, 4, 8, …: so pages that come round are noticed, however many they are
            before = items
        tokens.add(token)
        left = None if left is None else left - len(items)
        yield from items
        if not token:
            return


def page_of(items: Iterable[T], size: int) -> list[T]:
    """The items of a page. Raises DataLoss if there are more than asked for; 0 leaves the size to the server."""
    found = list(itertools.islice(items, (size or LARGEST_PAGE) + 1))
    if len(found) > (size or LARGEST_PAGE):
        raise malformed(f"a page of more than {size or LARGEST_PAGE} items")
    return found
