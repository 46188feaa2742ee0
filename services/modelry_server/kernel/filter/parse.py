"""Filter text -> tree."""

from collections.abc import Collection
from functools import lru_cache

from lark import Token

from modelry_server.kernel.filter.syntax import Branch, Source, place, tokens_of, unquoted
from modelry_server.kernel.filter.tree import And, Comparison, Node, Not, Op, Or, Scalar, render
from modelry_server.kernel.filter.words import NO_WORDS, Words

# Each page asks the same filter again, a dashboard all day. Long texts are not kept, so that the memory is bounded.
_KEPT_TEXTS = 256
_KEPT_CHARACTERS = 1024
_SHOWN_READING = 300
_INT64 = range(-(2**63), 2**63)
_VALUES = frozenset({"SINGLE", "DOUBLE", "NUMBER"})


def parse(text: str, scopes: Collection[str], *, words: Words = NO_WORDS, field_name: str = "filter") -> Node | None:
    """The tree of a filter, None if the text is blank. Raises FilterSyntax.

    `scopes` are those that the search knows, such as `metrics`, `params`, `tags`, `attributes`; a bare name belongs to
    `attributes`. `words` for attributes are read as the names of their fields. `field_name` is the request's field that
    the text came in. Which keys there are, and which operators and values fit them, is for the caller to judge.
    """
    read = _kept if len(text) <= _KEPT_CHARACTERS else _read
    return read(text, frozenset(scopes), words, field_name)


def _read(text: str, scopes: frozenset[str], words: Words, field_name: str) -> Node | None:
    if not text.strip():
        return None
    source = Source(text, scopes, field_name, words)
    return _node(source.read("filter"), source)


_kept = lru_cache(_KEPT_TEXTS)(_read)


def _node(branch: Branch, source: Source) -> Node:
    match branch.data:
        case "comparison":
            return _comparison(branch, source)
        case "negation":
            return Not(_node(_branches(branch)[0], source), column=place(tokens_of(branch)[0]) + 1)
        case _:
            return _chain(branch, source)


def _comparison(branch: Branch, source: Source) -> Comparison:
    (named,) = _branches(branch)
    tokens = tokens_of(branch)
    op = Op(" ".join(token.upper() for token in tokens if token.type not in _VALUES))
    given = [token for token in tokens if token.type in _VALUES]
    values = tuple(map(_value, given))
    value = values if op in (Op.IN, Op.NOT_IN) else values[0] if values else None
    begin = place(tokens_of(named)[0]) + 1
    return Comparison(
        source.field(named), op, value, column=begin, value_column=place(given[0]) + 1 if given else begin
    )


def _chain(branch: Branch, source: Source) -> Node:
    terms = [_node(child, source) for child in _branches(branch)]
    connectives = tokens_of(branch)
    odd = next((token for token in connectives if token.type != connectives[0].type), None)
    if odd is not None:
        readings = ", or ".join(f'"{_reading(terms, connectives, tighter)}"' for tighter in ("AND", "OR"))
        raise source.refusal(place(odd), "AND beside OR without parentheses", f"one of the two readings: {readings}")
    return _joined(connectives[0].type, terms)


def _reading(terms: list[Node], connectives: list[Token], tighter: str) -> str:
    """The text of a chain with the parentheses that it has if AND, or OR, binds tighter."""
    groups = [[terms[0]]]
    for connective, term in zip(connectives, terms[1:], strict=True):
        if connective.type == tighter:
            groups[-1].append(term)
        else:
            groups.append([term])
    text = render(_joined("OR" if tighter == "AND" else "AND", [_joined(tighter, group) for group in groups]))
    return text if len(text) <= _SHOWN_READING else f"{text[:_SHOWN_READING]}…"


def _joined(connective: str, terms: list[Node]) -> Node:
    if len(terms) == 1:
        return terms[0]
    return (And if connective == "AND" else Or)(tuple(terms), column=terms[0].column)


def _value(token: Token) -> Scalar:
    if token.type != "NUMBER":
        return unquoted(token)
    if token.lstrip("+-").isdigit() and len(token) <= 20 and int(token) in _INT64:
        return int(token)
    return float(token)


def _branches(branch: Branch) -> list[Branch]:
    return [child for child in branch.children if not isinstance(child, Token)]
