"""Sort keys: what is read, what is refused and how it is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry_server.kernel.filter import Field, FilterSyntax, OrderKey, parse_order

SCOPES = ("metrics", "params", "tags", "attributes")


@pytest.mark.parametrize(
    ("term", "scope", "key", "descending"),
    [
        ("start_time", "attributes", "start_time", False),
        ("start_time ASC", "attributes", "start_time", False),
        ("attributes.start_time DESC", "attributes", "start_time", True),
        ("attribute.start_time desc", "attributes", "start_time", True),
        ("run.start_time Desc", "attributes", "start_time", True),
        ("metrics.acc DESC", "metrics", "acc", True),
        ("metric.acc", "metrics", "acc", False),
        ("metrics.`val acc` DESC", "metrics", "val acc", True),
        ('metrics."val acc" asc', "metrics", "val acc", False),
        ("metrics.'val acc'", "metrics", "val acc", False),
        ("params.lr", "params", "lr", False),
        ("parameter.lr DESC", "params", "lr", True),
        ("tags.mlflow.source.name", "tags", "mlflow.source.name", False),
        ("`run name` DESC", "attributes", "run name", True),
        ("  metrics.acc \t DESC ", "metrics", "acc", True),
        ("metrics.desc DESC", "metrics", "desc", True),
        ("descending", "attributes", "descending", False),
        ("asc", "attributes", "asc", False),
        ("timestamp DESC", "attributes", "timestamp", True),
    ],
)
def test_a_sort_key_is_read(term: str, scope: str, key: str, descending: bool) -> None:
    assert parse_order([term], SCOPES) == (OrderKey(Field(scope, key), descending),)


def test_sort_keys_keep_their_order() -> None:
    keys = parse_order(["metrics.acc DESC", "start_time", "tags.`a b` ASC"], SCOPES)

    assert [str(key) for key in keys] == ["metrics.acc DESC", "start_time ASC", "tags.`a b` ASC"]


def test_no_terms_are_no_keys() -> None:
    assert parse_order([], SCOPES) == ()


@pytest.mark.parametrize(
    ("term", "column"),
    [
        ("", 1),
        ("  ", 1),
        ("DESC DESC DESC", 11),
        ("metrics.acc DOWN", 13),
        ("metrics.acc A\u017fC", 13),
        ("metrics.acc DESC ASC", 18),
        ("metrics.acc, params.lr", 12),
        ("metrics.acc > 1", 13),
        ("metrics.val acc", 13),
        ("models.acc", 1),
        ("metrics.", 9),
        ("metrics.`acc", 9),
        ("1", 1),
        ("-start_time", 1),
        ("NULL", 1),
        ("(start_time)", 1),
        ("start_time; DROP TABLE runs", 11),
        ("start_time\0", 11),
        ("a" * 16_385, 16_385),
    ],
)
def test_a_mistake_names_its_term_and_column(term: str, column: int) -> None:
    with pytest.raises(FilterSyntax) as caught:
        parse_order(["metrics.loss", term], SCOPES)

    assert list(caught.value.violations) == ["order_by[1]"]
    assert caught.value.column == column
    assert caught.value.message.startswith(f"order_by[1], column {column}: found")


def test_a_direction_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(FilterSyntax, match=r"order_by\[0\], column 13: found 'DOWN', expected ASC or DESC or the end"):
        parse_order(["metrics.acc DOWN"], SCOPES)


def test_a_field_is_named_once() -> None:
    with pytest.raises(FilterSyntax, match=r"order_by\[1\], column 1: found a field that is in the list already"):
        parse_order(["metrics.acc DESC", "metric.`acc`"], SCOPES)


def test_at_most_eight_keys_are_read() -> None:
    assert len(parse_order([f"metrics.m{index}" for index in range(8)], SCOPES)) == 8

    with pytest.raises(FilterSyntax, match="found 9 sort keys, expected at most 8"):
        parse_order([f"metrics.m{index}" for index in range(9)], SCOPES)


@settings(deadline=None)
@given(st.lists(st.text() | st.sampled_from(["metrics.acc DESC", "tags.`x`", "a ASC", "'", "``"]), max_size=10))
def test_any_terms_are_read_or_refused(terms: list[str]) -> None:
    try:
        keys = parse_order(terms, SCOPES)
    except FilterSyntax:
        return
    assert parse_order([str(key) for key in keys], SCOPES) == keys
