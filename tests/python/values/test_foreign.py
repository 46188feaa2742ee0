"""JSON and YAML that somebody else wrote."""

from __future__ import annotations

import time

import pytest

from modelry._sdk.values.foreign import Unreadable, json_object_of, json_of, yaml_of


@pytest.mark.parametrize(
    "content",
    [
        b"a: !!bool x",  # a KeyError of PyYAML
        b"a: !!timestamp x",  # an AttributeError
        b'a: !!int ""',  # an IndexError
        b"a: 1" + b":59" * 200 + b".5",  # an OverflowError
        b"a: 2020-99-99",  # a ValueError
        b"a: [",
        b"a: 1\n---\nb: 2",
        b"\xff\xff\xff",
        b"? {a: 1}\n: 2",
        b"a: &a [x]\nb: *a",
        b"a: " + b"[" * 11 + b"]" * 11,
        b"[" + b"1, " * 100 + b"1]",
        b"a: 1" + b":59" * 1_000_000,  # quadratic time
        b"a: 0x" + b"f" * 1_000_000,
        b"a: !!binary " + b"A" * 1_000,
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_whatever_is_wrong_with_yaml_is_one_error_at_once(content: bytes) -> None:
    begun = time.process_time()

    with pytest.raises(Unreadable):
        yaml_of(content, most=100, deepest=10)

    assert time.process_time() - begun < 10


def test_yaml_is_read_with_the_number_of_its_values() -> None:
    text = "x" * 100_000

    assert yaml_of(f"a: [1, {{b: '{text}'}}]".encode(), most=100, deepest=10) == ({"a": [1, {"b": text}]}, 7)


@pytest.mark.parametrize("content", ["", "x", "[" * 100_000, "1" * 5_000, b"\xff", "{} {}"])
def test_whatever_is_wrong_with_json_is_one_error(content: str | bytes) -> None:
    with pytest.raises(Unreadable, match="is no JSON that can be read"):
        json_of(content)


@pytest.mark.parametrize("content", ["[]", "1", "null", '"x"'])
def test_an_object_is_asked_for(content: str) -> None:
    with pytest.raises(Unreadable, match="is no JSON object"):
        json_object_of(content)
