"""The canonical text of any tree reads back as that tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry_server.kernel.filter import And, Comparison, Field, Node, Not, Op, Or, parse, render

SCOPES = ("metrics", "params", "tags", "attributes", "datasets")
EQUALITIES = (Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE)

texts = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t\n\r'\"`\\"), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
keys = st.sampled_from(["acc", "and", "like", "1", "a.b", "run name", "`", "''", ".", "-"]) | texts.filter(bool)
fields = st.builds(Field, st.sampled_from(SCOPES), keys)
lists = st.lists(texts | numbers, min_size=1, max_size=5).map(tuple)
comparisons = st.one_of(
    st.builds(Comparison, fields, st.sampled_from(EQUALITIES), texts | numbers),
    st.builds(Comparison, fields, st.sampled_from((Op.LIKE, Op.ILIKE)), texts),
    st.builds(Comparison, fields, st.sampled_from((Op.IN, Op.NOT_IN)), lists),
    st.builds(Comparison, fields, st.sampled_from((Op.IS_NULL, Op.IS_NOT_NULL))),
)


def joined(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    terms = st.lists(nodes, min_size=2, max_size=4).map(tuple)
    return st.one_of(st.builds(And, terms), st.builds(Or, terms), st.builds(Not, nodes))


nodes: st.SearchStrategy[Node] = st.recursive(comparisons, joined, max_leaves=12)


def typed(node: Node) -> str:
    """The tree with types and signs, which equality of numbers does not see; without columns."""
    match node:
        case Comparison(on, op, value):
            return repr((on, op, value))
        case And(terms) | Or(terms):
            return f"{type(node).__name__}({', '.join(map(typed, terms))})"
        case Not(term):
            return f"Not({typed(term)})"


@settings(deadline=None, max_examples=500)
@given(nodes)
def test_the_text_of_a_tree_reads_back_as_the_tree(node: Node) -> None:
    read = parse(render(node), SCOPES)

    assert read is not None
    assert typed(read) == typed(node)
    assert read == node


@settings(deadline=None)
@given(nodes)
def test_the_canonical_text_is_its_own_canonical_text(node: Node) -> None:
    text = render(node)
    read = parse(text, SCOPES)

    assert read is not None
    assert render(read) == text


def test_the_column_does_not_count_when_nodes_are_compared() -> None:
    assert parse("a = 1", SCOPES) == parse("   a=1", SCOPES)


@pytest.mark.parametrize("terms", [(), (Comparison(Field("tags", "a"), Op.IS_NULL),)])
@pytest.mark.parametrize("kind", [And, Or])
def test_fewer_than_two_terms_are_not_joined(kind: type[And | Or], terms: tuple[Node, ...]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        kind(terms)
