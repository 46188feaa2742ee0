"""The filter language: text -> tree -> text. Knows no table; `docs/filters.md` is its manual.

`parse` and `parse_order` read what a caller sent, `render` writes a tree in its canonical form. They answer in bounded
time and memory whatever the text, never evaluate it, and refuse it with FilterSyntax only. A caller can hand them
`Words`, by which its fields are called too.
"""

from modelry_server.kernel.filter.errors import FilterSyntax
from modelry_server.kernel.filter.numbers import are_equal, number_of
from modelry_server.kernel.filter.order import OrderKey, parse_order
from modelry_server.kernel.filter.parse import parse
from modelry_server.kernel.filter.tree import And, Comparison, Field, Node, Not, Op, Or, Scalar, render
from modelry_server.kernel.filter.words import Words

__all__ = [
    "And",
    "Comparison",
    "Field",
    "FilterSyntax",
    "Node",
    "Not",
    "Op",
    "Or",
    "OrderKey",
    "Scalar",
    "Words",
    "are_equal",
    "number_of",
    "parse",
    "parse_order",
    "render",
]
