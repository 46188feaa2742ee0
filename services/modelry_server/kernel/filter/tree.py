"""The tree of a filter, and its canonical text. Knows no field names: what a field means is for the stores to say."""

import re
from dataclasses import dataclass
from dataclasses import field as attribute
from enum import Enum
from typing import TypeAlias

ATTRIBUTES = "attributes"

_PLAIN_NAME = re.compile(r"[^\W\d][\w$#@:/-]*")
_PLAIN_KEY = re.compile(r"[\w.$#@:/-]+")
_RESERVED = frozenset({"and", "or", "not", "in", "is", "like", "ilike", "null"})


class Op(Enum):
    """How a field is compared; the value is the operator as it is written."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


Scalar: TypeAlias = str | int | float
"""An int is within 64 bits with sign; a larger number is a float."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is compared or sorted by: `metrics.acc` has the scope `metrics`; a bare name has the scope `attributes`."""

    scope: str
    key: str

    def __str__(self) -> str:
        if self.scope == ATTRIBUTES and _PLAIN_NAME.fullmatch(self.key) and self.key.lower() not in _RESERVED:
            return self.key
        return f"{self.scope}.{self.key if _PLAIN_KEY.fullmatch(self.key) else _quoted(self.key, '`')}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against a value: a tuple for IN and NOT IN, None for IS [NOT] NULL, a text for LIKE and ILIKE.

    `column` is where it began in the text, from 1, and `value_column` where its first value did. They do not count when
    nodes are compared.
    """

    field: Field
    op: Op
    value: Scalar | tuple[Scalar, ...] | None = None
    column: int = attribute(default=1, compare=False)
    value_column: int = attribute(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """True where all terms are; at least two."""

    terms: tuple["Node", ...]
    column: int = attribute(default=1, compare=False)

    def __post_init__(self) -> None:
        _at_least_two(self.terms)


@dataclass(frozen=True, slots=True)
class Or:
    """True where any term is; at least two."""

    terms: tuple["Node", ...]
    column: int = attribute(default=1, compare=False)

    def __post_init__(self) -> None:
        _at_least_two(self.terms)


@dataclass(frozen=True, slots=True)
class Not:
    """True where the term is false; where the term is neither (SQL's NULL), this is neither."""

    term: "Node"
    column: int = attribute(default=1, compare=False)


Node: TypeAlias = Comparison | And | Or | Not


def render(node: Node) -> str:
    """The canonical text of a tree; parsing it gives the same tree."""
    match node:
        case Comparison(on, op, None):
            return f"{on} {op.value}"
        case Comparison(on, op, tuple(values)):
            return f"{on} {op.value} ({', '.join(map(_literal, values))})"
        case Comparison(on, op, str() | int() | float() as value):
            return f"{on} {op.value} {_literal(value)}"
        case And(terms):
            return " AND ".join(map(_operand, terms))
        case Or(terms):
            return " OR ".join(map(_operand, terms))
        case Not(term):
            return f"NOT {_operand(term)}"
    raise TypeError(f"{node!r} is not a node of a filter")


def _operand(node: Node) -> str:
    return f"({render(node)})" if isinstance(node, And | Or) else render(node)


def _literal(value: Scalar) -> str:
    if isinstance(value, str):
        return _quoted(value, "'")
    # What is beyond the range of a float reads back as infinity, which has no word of its own.
    return repr(value).replace("inf", "1e999")


def _quoted(text: str, quote: str) -> str:
    return f"{quote}{text.replace(quote, quote * 2)}{quote}"


def _at_least_two(terms: tuple[Node, ...]) -> None:
    if len(terms) < 2:
        raise ValueError(f"{len(terms)} terms can't be joined; at least two can")
