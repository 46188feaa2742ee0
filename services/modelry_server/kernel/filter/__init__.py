"""The filter language: text -> tree -> text. Knows no table; `docs/filters.md` is its manual.

`parse` and `parse_order` read what a caller sent, `render` writes a tree in its canonical form. They answer in bounded
time and memory whatever the text, never evaluate it, and refuse it with FilterSyntax only. `mlflow_words` is the only
place that knows how MLflow calls a field.
"""

from modelry_server.kernel.filter.errors import FilterSyntax
from modelry_server.kernel.filter.mlflow_words import Noun
from modelry_server.kernel.filter.numbers import are_equal, number_of
from modelry_server.kernel.filter.order import OrderKey, parse_order
from modelry_server.kernel.filter.parse import parse
from modelry_server.kernel.filter.tree import And, Comparison, Field, Node, Not, Op, Or, Scalar, render

__all__ = [
    "And",
    "Comparison",
    "Field",
    "FilterSyntax",
    "Node",
    "Not",
    "Noun",
    "Op",
    "Or",
    "OrderKey",
    "Scalar",
    "are_equal",
    "number_of",
    "parse",
    "parse_order",
    "render",
]
