"""A list of the server's that fetches its pages while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class LazyList(Sequence[T]):
    """A list that asks for a page when the page is reached, and keeps what it has.

    Nothing is asked before the first item is wanted. `found[0]` and iterating fetch as far as needed; `len`, a negative
    index and printing fetch everything. An error of the server is raised where the page is reached.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._rest = items
        self._fetched: list[T] = []

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
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

    def _fetch(self, count: int | None) -> int:
        while count is None or len(self._fetched) < count:
            for item in self._rest:
                self._fetched.append(item)
                break
            else:
                break
        return len(self._fetched)
