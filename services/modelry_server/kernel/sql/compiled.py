"""Statements as text, compiled once for each shape and kept."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

KEPT = 1000
"""How many statements of each kind are kept. A program has a few hundred, since they are made when modules load."""


class Compiled(NamedTuple):
    """A statement as the driver takes it."""

    text: str
    constants: Mapping[str, Any]
    """Values that the statement itself has, by the name of their placeholder."""
    order: Callable[[Mapping[str, Any]], Sequence[Any]]
    """Puts values, by name, into the order of the placeholders."""


def compiled(dialect: Any, statement: Any, names: Sequence[str] = ()) -> Compiled:
    """Compiles a statement whose values are given by `names` each time it is sent."""
    result = statement.compile(dialect=dialect)
    order = result.positiontup or ()
    constants = {name: result.params[name] for name in order if name not in names}
    return Compiled(str(result), constants, _values_in(order))


def _values_in(order: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    if len(order) > 1:
        return operator.itemgetter(*order)
    return lambda values: tuple(values[name] for name in order)
