"""A text beyond a limit is refused with the limit and the value, and soon."""

import time

import pytest

from modelry_server.kernel.filter import FilterSyntax, parse

SCOPES = ("metrics", "params", "tags", "attributes", "datasets")
LONGEST = 16_384

WITHIN = {
    "characters": "a = '" + "x" * (LONGEST - 6) + "'",
    "parentheses": "(" * 32 + "a = 1" + ")" * 32,
    "NOTs": "NOT " * 32 + "a = 1",
    "NOTs and parentheses": "NOT (" * 16 + "a = 1" + ")" * 16,
    "levels beside each other": " AND ".join(["(" * 32 + "a NOT IN (1)" + ")" * 32] * 50),
    "NOTs beside each other": " AND ".join(["NOT NOT a IS NOT NULL"] * 64),
    "comparisons": " OR ".join(["a = 1"] * 64),
    "values": "a IN (" + ", ".join(["1"] * 1000) + ")",
    "lists beside each other": " AND ".join(["a IN (" + ",".join(["1"] * 1000) + ")"] * 8),
}

BEYOND = {
    "10^5 parentheses": ("(" * 10**5, LONGEST + 1, "100000 characters", "at most 16384"),
    "10^5 ORs": (" OR ".join(["a = 1"] * 10**5), LONGEST + 1, "899996 characters", "at most 16384"),
    "1 MB": ("a" * 10**6, LONGEST + 1, "1000000 characters", "at most 16384"),
    "IN of 10^6": (f"a IN ({'1,' * 10**6}1)", LONGEST + 1, "2000008 characters", "at most 16384"),
    "one character": (WITHIN["characters"] + " ", LONGEST + 1, "16385 characters", "at most 16384"),
    "blank": (" " * (LONGEST + 1) + "a", LONGEST + 1, "16386 characters", "at most 16384"),
    "parentheses": ("(" * LONGEST, 33, "33 levels", "at most 32"),
    "closed parentheses": (f"({WITHIN['parentheses']})", 33, "33 levels", "at most 32"),
    "NOTs": ("NOT " * 4000, 129, "33 levels", "at most 32"),
    "NOTs and parentheses": ("NOT (" * 3000, 81, "33 levels", "at most 32"),
    "levels after a list": ("a IN (1) AND " + "(" * 33, 46, "33 levels", "at most 32"),
    "comparisons": (" OR ".join(["a=1"] * 2000), 450, "65 comparisons", "at most 64"),
    "values": (f"a IN ({'1,' * 8000}1)", 2007, "1001 values", "at most 1000"),
}

SLOW_IF_DONE_BADLY = {
    "digits": "a = " + "1" * 16_000 + "x",
    "exponents": "a = 1" + "e1" * 8000,
    "open quote": "a = '" + "x" * 16_000,
    "doubled quotes": "a = " + "'" * 16_001,
    "doubled backticks": "tags." + "`" * 16_001,
    "blanks": "a" + " " * 16_000 + "=",
    "dots": "tags" + "." * 16_000,
    "scopes": "a." * 8000,
    "words": "a " * 8000,
    "closings": "a = 1" + ")" * 16_000,
    "symbols": "a " + "=" * 16_000,
    "mixed": " OR ".join(["a = 1 AND b = 2"] * 32),
}


@pytest.mark.parametrize("text", WITHIN.values(), ids=WITHIN.keys())
def test_what_is_within_the_limits_is_read(text: str) -> None:
    assert parse(text, SCOPES) is not None


@pytest.mark.parametrize(("text", "column", "found", "expected"), BEYOND.values(), ids=BEYOND.keys())
def test_what_is_beyond_a_limit_is_refused_with_the_limit(text: str, column: int, found: str, expected: str) -> None:
    with pytest.raises(FilterSyntax) as caught:
        parse(text, SCOPES)

    assert caught.value.column == column
    assert found in caught.value.metadata["found"]
    assert caught.value.metadata["expected"] == expected


@pytest.mark.parametrize(
    "text",
    [text for text, *_ in BEYOND.values()] + list(SLOW_IF_DONE_BADLY.values()),
    ids=[*BEYOND.keys(), *SLOW_IF_DONE_BADLY.keys()],
)
def test_an_attack_is_answered_within_50_ms_and_in_few_words(text: str) -> None:
    parse("warm = 1", SCOPES)

    before = time.thread_time()
    with pytest.raises(FilterSyntax) as caught:
        parse(text, SCOPES)
    spent = time.thread_time() - before

    assert spent < 0.05
    assert len(caught.value.message) < 1500
