"""Which texts are numbers, and which of them are the same."""

import math

import pytest

from modelry_server.kernel.filter import are_equal, number_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10.0),
        ("-0.5", -0.5),
        ("+1.", 1.0),
        (".5", 0.5),
        ("1e-4", 1e-4),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_a_text_that_is_a_number_as_a_whole_is_one(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1_000", "0x10", "nan", "True", "1e", "1.2.3", "1,5", "\u0661", "1\n", "1e999999", "1" * 401],
)
def test_any_other_text_is_none(text: str) -> None:
    assert number_of(text) is None


def test_equal_numbers_are_equal_exactly() -> None:
    assert are_equal("10", "10.0")
    assert are_equal("1e-3", "0.001")
    assert not are_equal("9007199254740993", "9007199254740992")
    assert not are_equal("nan", "NaN")
    assert are_equal("nan", "nan")
