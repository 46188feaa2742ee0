"""What a flavor takes as a model, so that something else is refused before anything is saved or a run is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
