"""Page tokens: what comes back, and what is refused; what fits on a page."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry.api.registry import v1 as api
from modelry_server.kernel import caller
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.paging import (
    LONGEST_TOKEN,
    PAGE_BYTES,
    Found,
    Page,
    Pager,
    PageTokenInvalid,
    SortValue,
    completed,
    fitting,
)

SECRET = bytes(range(32))
SCOPE = ("modelry.api.tracking.v1.RunService/SearchRuns", "default", "metrics.acc > 1", "metrics.acc DESC")

pager = Pager(SECRET)
values = st.one_of(st.text(max_size=50), st.integers(), st.floats(allow_nan=False), st.none(), st.booleans())


@settings(deadline=None)
@given(st.lists(values, max_size=6).map(tuple))
def test_a_sort_key_comes_back_exactly(after: tuple[SortValue, ...]) -> None:
    page = pager.page(0, pager.token(SCOPE, after), scope=SCOPE)

    assert repr(page.after) == repr(after)


@pytest.mark.parametrize(
    "value", [float("inf"), float("-inf"), -0.0, 1, 1.0, True, 5e-324, 2**63, "", "日本", "\0", None]
)
def test_types_signs_and_infinities_come_back(value: SortValue) -> None:
    page = pager.page(0, pager.token(SCOPE, (value,)), scope=SCOPE)

    assert repr(page.after) == repr((value,))


def test_a10_a_token_is_for_its_caller_only() -> None:
    with caller.using(caller.Caller("ada", "0" * 32)):
        token = pager.token(SCOPE, (1,))
        assert pager.page(0, token, scope=SCOPE).after == (1,)

    with caller.using(caller.Caller("bob", "0" * 32)), pytest.raises(PageTokenInvalid):
        pager.page(0, token, scope=SCOPE)


def test_the_first_page_has_no_token() -> None:
    assert pager.page(10, "", scope=SCOPE) == Page(10, None)


@pytest.mark.parametrize(("asked", "size"), [(0, 100), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_a_page_size_of_zero_is_the_default_and_a_large_one_is_lowered(asked: int, size: int) -> None:
    assert pager.page(asked, "", scope=SCOPE).size == size


def test_a_search_may_have_its_own_default_and_maximum() -> None:
    assert pager.page(0, "", scope=SCOPE, default=7, maximum=9).size == 7
    assert pager.page(10, "", scope=SCOPE, default=7, maximum=9).size == 9


@pytest.mark.parametrize("size", [-1, -(2**31)])
def test_a_negative_page_size_is_refused_with_its_value(size: int) -> None:
    with pytest.raises(FieldInvalid) as caught:
        pager.page(size, "", scope=SCOPE)

    assert caught.value.reason == "FIELD_INVALID"
    assert str(size) in caught.value.violations["page_size"]
    assert caught.value.metadata["page_size"] == str(size)


def test_another_page_size_keeps_the_token() -> None:
    token = pager.token(SCOPE, ("abc",))

    assert pager.page(5, token, scope=SCOPE) == Page(5, ("abc",))
    assert pager.page(50, token, scope=SCOPE) == Page(50, ("abc",))


@pytest.mark.parametrize("index", range(len(SCOPE)))
def test_a_token_holds_for_its_scope_only(index: int) -> None:
    token = pager.token(SCOPE, ("abc", 1))
    other = (*SCOPE[:index], SCOPE[index] + "x", *SCOPE[index + 1 :])

    with pytest.raises(PageTokenInvalid, match="not valid for this request"):
        pager.page(0, token, scope=other)


@pytest.mark.parametrize(
    ("scope", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("a",)),
        (("a", "b"), ("b", "a")),
        (('a","b',), ("a", "b")),
        (("a\0b",), ("a", "b")),
    ],
)
def test_parts_of_a_scope_do_not_run_into_each_other(scope: tuple[str, ...], other: tuple[str, ...]) -> None:
    token = pager.token(scope, (1,))

    with pytest.raises(PageTokenInvalid):
        pager.page(0, token, scope=other)


def test_a_token_of_another_secret_is_refused() -> None:
    token = Pager(b"another secret of the same kind.").token(SCOPE, (1,))

    with pytest.raises(PageTokenInvalid):
        pager.page(0, token, scope=SCOPE)


@settings(deadline=None)
@given(st.lists(values, max_size=4).map(tuple), st.integers(0), st.characters(max_codepoint=255))
def test_a10_a_token_with_one_character_changed_is_refused(after: tuple[SortValue, ...], place: int, char: str) -> None:
    token = pager.token(SCOPE, after)
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]

    if changed != token:
        with pytest.raises(PageTokenInvalid):
            pager.page(0, changed, scope=SCOPE)


@pytest.mark.parametrize("after", [("abc",), ("abcd",), ("abcde",)])
def test_each_bit_of_each_character_counts(after: tuple[str, ...]) -> None:
    token = pager.token(SCOPE, after)

    for place in range(len(token)):
        for bit in range(7):
            changed = token[:place] + chr(ord(token[place]) ^ (1 << bit)) + token[place + 1 :]
            with pytest.raises(PageTokenInvalid):
                pager.page(0, changed, scope=SCOPE)


@pytest.mark.parametrize(
    "change", ["{}=", "{}A", " {}", "{}\n", "{}!", "\0{}", "{}é", "{}==", "={}"], ids=lambda change: ascii(change)
)
def test_a_token_with_something_added_is_refused(change: str) -> None:
    token = pager.token(SCOPE, ("abcdef", 1))

    with pytest.raises(PageTokenInvalid):
        pager.page(0, change.format(token), scope=SCOPE)


@settings(deadline=None)
@given(st.text(min_size=1) | st.text("ABCDwxyz0189-_", min_size=1))
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        pager.page(0, token, scope=SCOPE)


def test_a10_a_token_that_is_too_long_is_refused_in_few_words() -> None:
    with pytest.raises(PageTokenInvalid, match="1000000 characters") as caught:
        pager.page(0, "A" * 10**6, scope=SCOPE)

    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    assert list(caught.value.violations) == ["page_token"]
    assert len(caught.value.message) < 400


def test_a_sort_key_that_no_token_holds_is_a_fault_of_the_store() -> None:
    assert len(pager.token(SCOPE, ("x" * 24_000,))) <= LONGEST_TOKEN

    with pytest.raises(ValueError, match="24604 bytes"):
        pager.token(SCOPE, ("x" * 24_600,))


def test_nan_has_no_place_in_an_order() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pager.token(SCOPE, (float("nan"),))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="15 bytes"):
        Pager(b"x" * 15)


def test_small_things_in_front_of_large_ones_do_not_make_a_page_weigh_all_of_them() -> None:
    """As where the newest runs are empty and the old ones are full."""
    found = [Found(number, (number,)) for number in range(1_000)]
    weighed: list[int] = []
    read: list[int] = []

    def sizes(some: Sequence[int]) -> list[int]:
        weighed.extend(some)
        return [100 if number < 8 else PAGE_BYTES // 4 for number in some]

    def complete(some: Sequence[int]) -> Sequence[int]:
        read.extend(some)
        return some

    page = completed(found, complete, sizes)
    assert [each.item for each in itertools.islice(page, 12)] == list(range(12))

    assert len(weighed) <= 8 + 4 * 8
    assert len(read) <= 16


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([], 0),
        ([10] * 3, 3),
        ([PAGE_BYTES * 2], 1),
        ([PAGE_BYTES * 2] * 2, 1),
        ([PAGE_BYTES // 2] * 3, 1),
        ([PAGE_BYTES // 3 - 100] * 9, 3),
        ([10, PAGE_BYTES, 10], 1),
    ],
)
def test_as_many_messages_fit_as_are_small_enough_but_one_in_any_case(sizes: list[int], count: int) -> None:
    messages = [api.Model(description="x" * size) for size in sizes]

    assert fitting(messages) == (messages[:count], count == len(sizes))
