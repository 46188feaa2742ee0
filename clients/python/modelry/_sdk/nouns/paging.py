"""Lists that fetch their pages by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from modelry._sdk.nouns.arguments import count

T = TypeVar("T")


def paged(
    fetch: Callable[[int, str], tuple[Iterable[T], str]], *, max_results: int | None, page_size: int
) -> Iterator[T]:
    """Iterates over all pages; the first one is fetched when the first item is asked for.

    `fetch(page_size, page_token)` answers with the items and the token of the next page. At most `max_results` items
    come; None means all. Raises InvalidArgument at once for a number that is none.
    """
    return _items(fetch, count("max_results", max_results), count("page_size", page_size) or 0)


def _items(fetch: Callable[[int, str], tuple[Iterable[T], str]], left: int | None, page_size: int) -> Iterator[T]:
    token = ""
    while left is None or left > 0:
        size = page_size if left is None else min(left, page_size or left)
        items, token = fetch(min(size, 1000), token)
        for item in items:
            if left is not None:
                if left == 0:
                    return
                left -= 1
            yield item
        if not token:
            return
