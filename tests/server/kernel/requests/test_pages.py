"""The pages of an answer: each thing once, to the end; and the cursors, which hold for every caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel import caller
from modelry_server.kernel.requests.paging import (
    PAGE_BYTES,
    CursorInvalid,
    Found,
    Pager,
    PageTokenInvalid,
    SortValue,
    block_by_block,
    completed,
)

SCOPE = ("SearchModels", "default")
pager = Pager(bytes(range(32)))

NAMES = [f"m{number:03}" for number in range(250)]


def found(names: Sequence[str], *, after: tuple[SortValue, ...] | None, limit: int) -> list[Found[str]]:
    return [Found(name, (name,)) for name in names if after is None or name > str(after[0])][:limit]


def walked(request: api.SearchModelsRequest, names: Sequence[str], *, description: str = "") -> list[list[str]]:
    """The names on each page of a search for models, to the end."""
    pages = []
    while True:
        messages, request.page_token = pager.answer(
            request,
            lambda *, after, limit: found(names, after=after, limit=limit),
            lambda name: api.Model(name=name, description=description),
        )
        pages.append([message.name for message in messages])
        if not request.page_token:
            return pages


@pytest.mark.parametrize(
    ("size", "sizes"), [(0, [100, 100, 50]), (125, [125, 125]), (249, [249, 1]), (250, [250]), (1000, [250])]
)
def test_the_pages_of_an_answer_have_each_thing_once_and_the_last_one_has_no_token(size: int, sizes: list[int]) -> None:
    pages = walked(api.SearchModelsRequest(page_size=size), NAMES)

    assert [len(page) for page in pages] == sizes
    assert [name for page in pages for name in page] == NAMES


def test_an_answer_with_nothing_is_one_empty_page() -> None:
    assert walked(api.SearchModelsRequest(), []) == [[]]


def test_what_does_not_fit_on_a_page_comes_on_the_next() -> None:
    pages = walked(api.SearchModelsRequest(page_size=10), NAMES[:5], description="x" * (PAGE_BYTES // 2))

    assert [len(page) for page in pages] == [1, 1, 1, 1, 1]
    assert [name for page in pages for name in page] == NAMES[:5]


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (api.SearchModelsRequest(), True),
        (api.SearchModelsRequest(page_size=7), True),
        (api.SearchModelsRequest(filter="x"), False),
        (api.SearchModelsRequest(workspace="b"), False),
    ],
)
def test_a_token_holds_for_the_same_request_with_any_page_size(change: api.SearchModelsRequest, holds: bool) -> None:
    request = api.SearchModelsRequest(workspace="a", filter="name = 'x'", page_size=3)

    def answer(request: api.SearchModelsRequest) -> tuple[list[api.Model], str]:
        return pager.answer(
            request,
            lambda *, after, limit: found(NAMES, after=after, limit=limit),
            lambda name: api.Model(name=name),
        )

    _, token = answer(request)
    following = api.SearchModelsRequest(workspace="a", filter="name = 'x'", page_size=3, page_token=token)
    following.MergeFrom(change)

    if holds:
        assert answer(following)[0][0].name == NAMES[3]
    else:
        with pytest.raises(PageTokenInvalid):
            answer(following)


def test_a_token_of_one_rpc_is_none_of_another() -> None:
    _, token = pager.answer(
        api.SearchModelsRequest(page_size=1), lambda *, after, limit: [Found("a", ("a",))] * 2, lambda _: api.Model()
    )

    with pytest.raises(PageTokenInvalid):
        pager.answer(
            api.SearchVersionsRequest(page_size=1, page_token=token), lambda *, after, limit: [], lambda _: api.Model()
        )


def test_a_cursor_is_for_every_caller_of_its_scope() -> None:
    with caller.using(caller.Caller("ada", "0" * 32)):
        cursor = pager.cursor(("events", "risk"), (1, 7))

    with caller.using(caller.Caller("bob", "0" * 32)):
        assert pager.read_cursor(("events", "risk"), cursor) == (1, 7)
        for scope in (("events", "other"), ("events",), ("risk", "events"), ("events", "risk", "")):
            with pytest.raises(CursorInvalid):
                pager.read_cursor(scope, cursor)


def test_a_cursor_is_no_page_token_and_a_page_token_no_cursor() -> None:
    with caller.using(caller.Caller("ada", "0" * 32)):
        with pytest.raises(PageTokenInvalid):
            pager.page(0, pager.cursor(SCOPE, (1,)), scope=SCOPE)
        for scope in (SCOPE, ("ada", *SCOPE)):
            with pytest.raises(CursorInvalid):
                pager.read_cursor(scope, pager.token(SCOPE, (1,)))


@pytest.mark.parametrize("cursor", ["", "x", "A" * 10**6, "\0", "\u65e5"])
def test_a_cursor_that_was_not_made_here_is_refused_by_its_field_in_few_words(cursor: str) -> None:
    with pytest.raises(CursorInvalid, match=f"{len(cursor)} characters") as caught:
        pager.read_cursor(("events", "risk"), cursor, field="after_cursor")

    assert caught.value.reason == "CURSOR_INVALID"
    assert list(caught.value.violations) == ["after_cursor"]
    assert len(caught.value.message) < 400


def test_a_cursor_of_another_secret_is_refused() -> None:
    cursor = Pager(b"another secret of the same kind.").cursor(("events",), (1,))

    with pytest.raises(CursorInvalid):
        pager.read_cursor(("events",), cursor)


def test_things_are_read_whole_a_few_at_a_time_and_no_more_than_the_page_takes() -> None:
    asked: list[int] = []

    def whole(names: Sequence[str]) -> list[str]:
        asked.append(len(names))
        return [name.upper() for name in names]

    brief = found(NAMES, after=None, limit=250)
    every = list(completed(brief, whole))
    small, asked = asked, []
    pager.answer(
        api.SearchModelsRequest(page_size=200),
        lambda *, after, limit: completed(brief, whole),
        lambda name: api.Model(name=name, description="x" * (PAGE_BYTES // 5)),
    )

    assert every == [Found(each.item.upper(), each.key) for each in brief]
    assert small == [32] * 7 + [26]
    assert asked == [32]


def test_as_many_things_are_read_at_once_as_fill_a_page_where_their_sizes_are_known() -> None:
    asked: list[int] = []
    weighed: list[int] = []

    def whole(names: Sequence[str]) -> list[str]:
        asked.append(len(names))
        return list(names)

    def read(size: Callable[[str], int], count: int = 250) -> list[int]:
        asked.clear()
        weighed.clear()

        def sizes(names: Sequence[str]) -> list[int]:
            weighed.append(len(names))
            return list(map(size, names))

        brief = found(NAMES, after=None, limit=count)
        assert list(completed(brief, whole, sizes)) == brief
        return list(asked)

    assert read(lambda name: 10) == [250]
    assert weighed == [8, 32, 128, 82]
    assert read(lambda name: PAGE_BYTES // 100) == [100, 100, 50]
    assert read(lambda name: PAGE_BYTES + 1, 40) == [1] * 40
    assert read(lambda name: PAGE_BYTES if name == "m003" else 10) == [3, 1, 246]
    assert read(lambda name: PAGE_BYTES, 20) == [1] * 20
    assert read(lambda name: 10, 0) == []


def test_no_more_sizes_are_asked_than_the_page_is_worth() -> None:
    weighed: list[int] = []

    def sizes(names: Sequence[str]) -> list[int]:
        weighed.append(len(names))
        return [PAGE_BYTES // 20] * len(names)

    pager.answer(
        api.SearchModelsRequest(page_size=200),
        lambda *, after, limit: completed(found(NAMES, after=after, limit=limit), list, sizes),
        lambda name: api.Model(name=name, description="x" * (PAGE_BYTES // 20)),
    )

    assert sum(weighed) < 40


def test_a_search_that_reads_on_gives_each_thing_once_up_to_the_limit() -> None:
    asked: list[int] = []

    def read(after: tuple[SortValue, ...] | None, limit: int) -> list[Found[str]]:
        asked.append(limit)
        return found(NAMES, after=after, limit=limit)

    assert [each.item for each in block_by_block(read, None, 1000)] == NAMES
    assert [each.item for each in block_by_block(read, ("m099",), 20)] == NAMES[100:120]
    assert [each.item for each in block_by_block(read, ("m248",), 20)] == NAMES[249:]
    assert asked == [32] * 8 + [20, 20]


def test_a_search_that_is_left_early_is_closed() -> None:
    closed: list[bool] = []

    def search(*, after: tuple[SortValue, ...] | None, limit: int) -> Iterator[Found[str]]:
        try:
            yield from found(NAMES, after=after, limit=limit)
        finally:
            closed.append(True)

    pager.answer(api.SearchModelsRequest(page_size=2), search, lambda name: api.Model(name=name))

    assert closed == [True]
