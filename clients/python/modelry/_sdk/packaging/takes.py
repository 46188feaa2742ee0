"""What a flavor takes as a model, so that something else is refused before anything is saved or a run is started."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelry._sdk.nouns import arguments
from modelry._sdk.values.texts import shown
from modelry.errors import InvalidArgument

_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Takes:
    """What `argument` may be, in words, by the names of classes such as `xgboost.Booster`, or by any of some methods.

    A class counts with its subclasses, and is known by its name and the package that has it: nothing is imported.
    """

    argument: str
    words: str
    classes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def require(self, model: Any) -> None:
        """Raises InvalidArgument for what is no such model."""
        if not isinstance(model, type) and (self._is_of_class(model) or self._has_method(model)):
            return
        told = " ".join(shown(model).split())  # as one line, also an array
        problem = f"{self.argument} is {told[:_LONGEST]} of type {type(model).__name__}"
        advice = f"give {self.words}"
        if isinstance(model, type) and (self._is_of_class(model) or self._has_method(model)):
            problem = f"{self.argument} is the class {model.__name__}"
            advice = f"give {self.words}, such as {model.__name__}()"
        raise InvalidArgument(
            f"{problem}; {advice}", reason="FIELD_INVALID", fields={self.argument: f"must be {self.words}"}
        )

    def _is_of_class(self, model: Any) -> bool:
        kind = model if isinstance(model, type) else type(model)
        return any(f"{each.__module__.partition('.')[0]}.{each.__name__}" in self.classes for each in kind.__mro__)

    def _has_method(self, model: Any) -> bool:
        return any(callable(getattr(model, name, None)) for name in self.methods)


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats of the file of a model, which the option `argument` names."""

    argument: str
    names: tuple[str, ...]

    def require(self, options: Mapping[str, Any]) -> None:
        """Raises InvalidArgument for another format, and ModuleNotFoundError if the package of one is missing."""
        if self.argument not in options:
            return
        given = options[self.argument]
        if given not in self.names:
            raise arguments.refused(self.argument, given, f"one of {', '.join(map(repr, self.names))}")
        if given == "skops" and importlib.util.find_spec("skops") is None:
            raise ModuleNotFoundError(
                f"{self.argument}='skops' needs the package skops, which is not installed: pip install skops",
                name="skops",
            )
