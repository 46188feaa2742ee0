"""Limits of single fields: all mistakes of a request at once, each with value and rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry_server.kernel.errors import FieldInvalid, LimitReached
from modelry_server.kernel.requests.fields import (
    LAST_TIME,
    MASK_PATHS,
    MOST_VIOLATIONS,
    TAG_BYTES,
    Fields,
    excess_of_tags,
    require_room,
    shown,
)

Check = Callable[[Fields], None]


def mistakes(check: Check) -> dict[str, str]:
    try:
        with Fields() as fields:
            check(fields)
    except FieldInvalid as error:
        return error.violations
    return {}


@pytest.mark.parametrize(
    ("check", "path", "said"),
    [
        (lambda f: f.text("t", "x" * 11, longest=10), "t", "11 characters, at most 10"),
        (lambda f: f.text("t", "", longest=10, shortest=1), "t", "1 to 10"),
        (lambda f: f.text("t", "a\tb", longest=10), "t", "control"),
        (lambda f: f.text("t", "a\0", longest=10, controls=True), "t", "control"),
        (lambda f: f.name("n", "\u00a0x"), "n", "white space"),
        (lambda f: f.key("k", "k" * 251), "k", "251"),
        (lambda f: f.id("i", "0" * 31), "i", "32"),
        (lambda f: f.id("i", "0" * 32 + "\n"), "i", "32"),
        (lambda f: f.number_id("i", "\u0967"), "i", "whole number"),
        (lambda f: f.number_id("i", "1\n"), "i", "whole number"),
        (lambda f: f.number_id("i", "01"), "i", "whole number"),
        (lambda f: f.time("t", -1), "t", "1970 to 9999"),
        (lambda f: f.time("t", LAST_TIME + 1), "t", "1970 to 9999"),
        (lambda f: f.tags("t", {"a": "x" * 8001}), "t['a']", "8001"),
        (lambda f: f.count("c", [1] * 3, most=2), "c", "3 entries, at most 2"),
        (lambda f: f.mask("m", ["a", "b"], ("a",)), "m", "'b' can't be named here; allowed: a"),
        (lambda f: f.request_id("r" * 65), "request_id", "65"),
    ],
)
def test_a_value_outside_its_limits_is_refused_with_the_rule(check: Check, path: str, said: str) -> None:
    found = mistakes(check)

    assert list(found) == [path]
    assert said in found[path]


@pytest.mark.parametrize(
    "check",
    [
        lambda f: f.text("t", "x" * 10, longest=10),
        lambda f: f.text("t", "a\nb", longest=10, controls=True),
        lambda f: f.name("n", "a b \U0001f600"),
        lambda f: f.id("i", "0123456789abcdef" * 2),
        lambda f: f.number_id("i", "0"),
        lambda f: f.number_id("i", "9" * 18),
        lambda f: f.time("t", 0),
        lambda f: f.time("t", LAST_TIME),
        lambda f: f.time("t", None),
    ],
)
def test_a_value_at_its_limit_is_taken(check: Check) -> None:
    assert mistakes(check) == {}


def test_the_first_mistake_of_a_field_stands_and_every_field_is_told() -> None:
    def check(fields: Fields) -> None:
        fields.refuse("a", "first")
        fields.refuse("a", "second")
        fields.key("b", "")

    assert mistakes(check) == {"a": "first", "b": "is required: 1 to 250 characters"}


def test_of_many_bad_fields_the_first_are_described_and_the_others_counted() -> None:
    with pytest.raises(
        FieldInvalid, match=r"^25 fields are wrong, 5 of them are not listed; k.0.: is required"
    ) as caught:
        check_many(25)

    assert list(caught.value.violations) == [f"k[{at}]" for at in range(MOST_VIOLATIONS)]
    assert caught.value.metadata == {"more_fields": "5"}


def test_as_many_bad_fields_as_are_described_leave_none_to_count() -> None:
    with pytest.raises(FieldInvalid) as caught:
        check_many(MOST_VIOLATIONS)

    assert len(caught.value.violations) == MOST_VIOLATIONS
    assert caught.value.metadata == {}


def check_many(count: int) -> None:
    with Fields() as fields:
        fields.keys("k", [""] * count)
        fields.keys("k", [""] * count)  # what is wrong twice counts once


@pytest.mark.parametrize(
    ("check", "most"),
    [
        (lambda f: f.keys("x", [""] * 1001), 1000),
        (lambda f: f.tags("x", {f"\n{at}": "" for at in range(1001)}), 1000),
        (lambda f: f.each("x", ["?"] * 8, f.id, most=7), 7),
        (lambda f: f.mask("x", ["unknown"] * (MASK_PATHS + 1), ["name"]), MASK_PATHS),
    ],
)
def test_the_items_of_a_list_that_is_too_long_are_not_judged(check: Check, most: int) -> None:
    (said,) = mistakes(check).items()

    assert said == ("x", f"has {8 if most == 7 else most + 1} entries, at most {most} are allowed in one call")


def test_a_list_is_given_back_with_each_item_once_in_its_order() -> None:
    fields = Fields()

    assert fields.keys("k", ["b", "a", "b"]) == ["b", "a"]
    assert fields.mask("m", ["name", "status", "name"], ["name", "status"]) == ["name", "status"]
    assert fields.violations == {}


def test_an_exception_within_is_not_hidden_by_mistakes() -> None:
    def check(fields: Fields) -> None:
        fields.refuse("a", "x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        mistakes(check)


def test_what_is_shown_is_quoted_escaped_and_cut() -> None:
    assert shown("a\x1b[31mb\n") == "'a\\x1b[31mb\\n'"
    assert shown("x" * 1000).endswith("(1000 characters)")
    assert len(shown("x" * 10**6)) < 150


@pytest.mark.parametrize(
    ("tags", "excess"),
    [
        ({}, None),
        ({str(at): "" for at in range(1000)}, None),
        ({str(at): "" for at in range(1001)}, ("tags", 1001, 1000)),
        ({"k": "v" * (TAG_BYTES - 8)}, None),  # {"k":"..."}
        ({"k": "v" * (TAG_BYTES - 7)}, ("bytes of tags as JSON", TAG_BYTES + 1, TAG_BYTES)),
        ({"k": "\1" * (TAG_BYTES // 6)}, ("bytes of tags as JSON", TAG_BYTES // 6 * 6 + 8, TAG_BYTES)),
        ({"k": "\u20ac" * (TAG_BYTES // 3)}, ("bytes of tags as JSON", TAG_BYTES // 3 * 3 + 8, TAG_BYTES)),
    ],
)
def test_all_tags_of_a_thing_have_a_limit_in_number_and_as_json(
    tags: dict[str, str], excess: tuple[str, int, int] | None
) -> None:
    assert excess_of_tags(tags) == excess

    if excess:
        with pytest.raises(LimitReached) as reached:
            require_room("tags", excess_of_tags(tags))
        assert reached.value.metadata == {"field": "tags", "total": str(excess[1]), "most": str(excess[2])}
        assert mistakes(lambda fields: fields.within("tags", excess_of_tags(tags)))["tags"].startswith("has ")
