"""What the filter language reads, as what; what it refuses, and where."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry_server.kernel.filter import (
    And,
    Comparison,
    Field,
    FilterSyntax,
    Not,
    Op,
    Or,
    Words,
    parse,
    parse_order,
    render,
)
from tests.server.kernel.filter.texts import BEYOND, MLFLOW, REFUSED

SCOPES = ("metrics", "params", "tags", "attributes", "datasets")


@pytest.mark.parametrize(("text", "canonical"), MLFLOW)
def test_what_mlflow_accepts_is_read(text: str, canonical: str) -> None:
    node = parse(text, SCOPES)

    assert node is not None
    assert render(node) == canonical


@pytest.mark.parametrize(("text", "canonical"), BEYOND)
def test_or_not_and_parentheses_are_read(text: str, canonical: str) -> None:
    node = parse(text, SCOPES)

    assert node is not None
    assert render(node) == canonical


@pytest.mark.parametrize(("text", "canonical"), MLFLOW + BEYOND)
def test_the_canonical_text_means_the_same(text: str, canonical: str) -> None:
    assert parse(canonical, SCOPES) == parse(text, SCOPES)


@pytest.mark.parametrize(("text", "column"), REFUSED)
def test_a_mistake_is_refused_at_its_column(text: str, column: int) -> None:
    with pytest.raises(FilterSyntax) as caught:
        parse(text, SCOPES)

    assert caught.value.column == column
    assert caught.value.metadata["column"] == str(column)
    assert caught.value.metadata["found"] in caught.value.message
    assert caught.value.metadata["expected"] in caught.value.message


@pytest.mark.parametrize("text", ["", " ", "\n\t  "])
def test_a_blank_text_is_no_filter(text: str) -> None:
    assert parse(text, SCOPES) is None


def test_a_tree_says_what_was_written() -> None:
    node = parse("metrics.acc > 0.9 AND NOT (tags.team IN ('a', 'b') OR start_time >= 17)", SCOPES)

    assert node == And(
        (
            Comparison(Field("metrics", "acc"), Op.GT, 0.9),
            Not(
                Or(
                    (
                        Comparison(Field("tags", "team"), Op.IN, ("a", "b")),
                        Comparison(Field("attributes", "start_time"), Op.GE, 17),
                    )
                )
            ),
        )
    )


def test_a_node_knows_where_it_began() -> None:
    node = parse("  a = 1 AND NOT (b = 2 OR c = 3)", SCOPES)

    match node:
        case And((Comparison() as first, Not(Or((Comparison(), Comparison() as last)) as inner) as negation)):
            assert (node.column, first.column, negation.column, inner.column, last.column) == (3, 3, 13, 18, 27)
        case _:
            pytest.fail(repr(node))


@pytest.mark.parametrize(
    ("written", "value"),
    [("1", 1), ("-1", -1), ("1.0", 1.0), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), (str(2**63), 2.0**63)],
)
def test_a_number_with_a_point_or_exponent_or_beyond_64_bits_is_a_float(written: str, value: float) -> None:
    node = parse(f"metrics.a = {written}", SCOPES)

    assert isinstance(node, Comparison)
    assert (type(node.value), node.value) == (type(value), value)


@pytest.mark.parametrize(
    ("written", "scope"),
    [
        ("metric", "metrics"),
        ("param", "params"),
        ("parameter", "params"),
        ("parameters", "params"),
        ("tag", "tags"),
        ("attribute", "attributes"),
        ("attr", "attributes"),
        ("run", "attributes"),
        ("dataset", "datasets"),
    ],
)
def test_a_scope_has_other_names(written: str, scope: str) -> None:
    node = parse(f"{written}.a = 1", SCOPES)

    assert node == Comparison(Field(scope, "a"), Op.EQ, 1)


def test_a_scope_that_the_search_does_not_know_is_refused() -> None:
    with pytest.raises(FilterSyntax, match=r"column 16: found 'metric\.a', expected a field \(tags\.<key> or the name"):
        parse("name = 'x' AND metric.a = 1", ("attributes", "tags"))


def test_the_keys_of_a_scope_are_named_as_they_look() -> None:
    words = Words({}, keys={"evaluation": "<name>.<metric>"})

    with pytest.raises(FilterSyntax, match=r"expected a field \(evaluation\.<name>\.<metric>, tags\.<key> or the name"):
        parse("metrics.x = 1", ("attributes", "tags", "evaluation"), words=words)
    with pytest.raises(FilterSyntax, match=r"expected a field \(evaluation\.<name>\.<metric> or tags\.<key>\)"):
        parse_order(["metrics.x"], ("tags", "evaluation"), words=words)


def test_the_callers_own_scope_is_read() -> None:
    assert parse("aliases.name = 'x'", ("aliases",)) == Comparison(Field("aliases", "name"), Op.EQ, "x")


def test_other_words_are_read_as_the_attributes_that_they_mean() -> None:
    text = "size > 1 AND tags.size = 'x'"
    words, others = Words({"size": "length"}), Words({"size": "weight"})

    read = [parse(text, SCOPES, words=each) for each in (words, others)]

    assert read == [parse(f"{name} > 1 AND tags.size = 'x'", SCOPES) for name in ("length", "weight")]
    assert parse_order(["size"], SCOPES, words=words) == parse_order(["length"], SCOPES)


def test_a_bare_name_is_refused_where_there_are_no_attributes() -> None:
    with pytest.raises(FilterSyntax, match=r"found 'name', expected a field \(aliases\.<key>\)"):
        parse("name = 'x'", ("aliases",))


def test_and_beside_or_is_refused_with_both_readings() -> None:
    with pytest.raises(FilterSyntax) as caught:
        parse("a = 1 or b = 2 and not c = 3 and d = 4", SCOPES)

    assert '"a = 1 OR (b = 2 AND NOT c = 3 AND d = 4)"' in caught.value.message
    assert '"(a = 1 OR b = 2) AND NOT c = 3 AND d = 4"' in caught.value.message


def test_a_mistake_is_shown_with_a_caret() -> None:
    with pytest.raises(FilterSyntax) as caught:
        parse("metrics.acc > fast", SCOPES)

    assert caught.value.message.splitlines() == [
        "filter, column 15: found the word fast without quotes, expected a text in quotes or a number; "
        "write 'fast' for a text",
        "  metrics.acc > fast",
        "                ^",
    ]
    assert caught.value.violations == {"filter": caught.value.message}
    assert caught.value.reason == "FILTER_SYNTAX"


@pytest.mark.parametrize(
    "key",
    [
        *("huber_loss[delta=1.3]", "top-5 acc.", "f1 (macro, %)", "a=b", "a b", "50%", "val is good", "top in 5"),
        *("a, b", "a!b", "like it", "[x]", "loss<1", "a;b", "a\\b", "é è"),
    ],
)
def test_a_key_that_needs_quotes_is_refused_with_how_to_quote_it(key: str) -> None:
    with pytest.raises(FilterSyntax, match="quotes"):
        parse(f"metrics.{key} > 0", SCOPES)
    with pytest.raises(FilterSyntax, match="quotes"):
        parse_order([f"metrics.{key} DESC"], SCOPES)
    assert parse(f"metrics.`{key}` > 0", SCOPES) == Comparison(Field("metrics", key), Op.GT, 0)


def test_a_mistake_in_a_long_text_is_shown_with_what_is_around_it() -> None:
    text = " AND ".join(["metrics.acc > 1"] * 50) + " AND\nmetrics.acc > fast AND " + "metrics.acc > 1"

    with pytest.raises(FilterSyntax) as caught:
        parse(text, SCOPES)

    _, shown, caret = caught.value.message.splitlines()
    assert shown[len(caret) - 1 :].startswith("fast")
    assert len(shown) < 130


@pytest.mark.parametrize("name", ["filter", "gates[2].condition"])
def test_a_mistake_names_the_field_of_the_request(name: str) -> None:
    with pytest.raises(FilterSyntax) as caught:
        parse("a ==", SCOPES, field_name=name)

    assert list(caught.value.violations) == [name]
    assert caught.value.message.startswith(f"{name}, column 3:")


@pytest.mark.parametrize("char", ["\0", "\x01", "\x1b", "\x7f", "\x85", "\ud800"])
def test_a_control_character_is_refused_at_its_column(char: str) -> None:
    with pytest.raises(FilterSyntax, match="control character") as caught:
        parse(f"a = '{char}'", SCOPES)

    assert caught.value.column == 6
    assert char not in caught.value.message


def test_the_first_filters_may_come_at_the_same_time() -> None:
    with ThreadPoolExecutor(8) as pool:
        nodes = list(pool.map(lambda index: parse(f"metrics.a{index} > {index}", SCOPES), range(200)))

    assert nodes == [Comparison(Field("metrics", f"a{index}"), Op.GT, index) for index in range(200)]


WORDS = ["a", "metrics.acc", "tags.", "é", "1", "-2.5e3", "1e999", "'x'", '"y"', "`z`", "'", '"', "`", "''"]
SIGNS = [
    "=",
    "!=",
    "<>",
    "<",
    ">=",
    "(",
    ")",
    ",",
    ".",
    ";",
    "\\",
    "\0",
    "AND",
    "or",
    "NOT",
    "in",
    "IS",
    "null",
    "LIKE",
]
SEQUENCES = st.lists(st.sampled_from(WORDS + SIGNS))


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.text(), SEQUENCES.map(" ".join), SEQUENCES.map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        node = parse(text, SCOPES)
    except FilterSyntax as error:
        refusal = error
    else:
        assert node is None or parse(render(node), SCOPES) == node
        return
    assert 1 <= refusal.column <= len(text) + 1
    assert len(refusal.message) < 2000
