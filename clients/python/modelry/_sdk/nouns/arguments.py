"""Arguments of callers in the form of the contract: one text as a list of one, ids and tag values as text."""

from __future__ import annotations

import functools
import inspect
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from modelry._sdk.values import signals
from modelry._sdk.values.plain import members_of
from modelry._sdk.values.texts import shown, text_of
from modelry.errors import FieldInvalid, InvalidArgument

Noun = TypeVar("Noun")

_TEXT = ("str", "str | None")
"""The annotations of parameters that `texts_checked` checks."""
RUN_ID_FORM = "the id of a run: 32 lower-case hexadecimal characters"
MODEL_NAME_FORM = (
    "the name of a registered model: 1 to 250 characters without '/', ':' and '@', without invisible ones, and without "
    "blanks at its ends"
)
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}
EXPERIMENT_ID_FORM = "the id of an experiment: a whole number such as '7'"


def texts_checked(noun: type[Noun]) -> type[Noun]:
    """Makes every public method of a class refuse what is no text for a parameter that is annotated as one.

    Without it a wrong type would reach protobuf, whose TypeError does not name the argument. A new method is checked
    without a line of its own. Raises InvalidArgument when such a method is called.
    """
    for name, method in list(vars(noun).items()):
        if not name.startswith("_") and inspect.isfunction(method):
            setattr(noun, name, _checking(method))
    return noun


def text(argument: str, given: Any, wanted: str = "a text") -> str:
    """A text. Raises InvalidArgument for another type, and for a text that can't be written as UTF-8."""
    if not isinstance(given, str):
        raise InvalidArgument(
            f"{argument} must be {wanted}, not {shown(given)}, which is of type {type(given).__name__}",
            fields={argument: f"must be {wanted}"},
        )
    try:
        given.encode()
    except UnicodeEncodeError:
        raise refused(argument, given, "text that can be written as UTF-8") from None
    return given


def converted(given: object) -> str:
    """Any value as text that protobuf takes: what training code gives must never stop it. None is the empty text."""
    return "" if given is None else text_of(given)


def listed(argument: str, given: str | Iterable[str] | None) -> list[str]:
    """The texts of a list. A single text is a list of one, None an empty list. Raises InvalidArgument."""
    each = [given] if isinstance(given, str) else _iterated(argument, given, "a text, or a list of texts")
    return [text(argument, one, "a text, or a list of texts") for one in each]


def ids(argument: str, given: str | int | Iterable[str | int] | None) -> list[str]:
    """The ids of a list as text. A single id is a list of one, None an empty list. Raises InvalidArgument."""
    if isinstance(given, str) or hasattr(given, "__index__"):
        return [id_text(argument, given)]
    return [id_text(argument, one) for one in _iterated(argument, given, "an id, or a list of ids")]


def id_text(argument: str, given: Any) -> str:
    """An id, given as a text or as a whole number, as text. Raises InvalidArgument."""
    number = given if isinstance(given, str) else _whole(given)
    if number is None:
        raise refused(argument, given, "an id, such as '12'")
    return str(number)


def is_run_id(given: str) -> bool:
    """Whether it has the form of a run's id."""
    return re.fullmatch("[0-9a-f]{32}", given) is not None


def is_experiment_id(given: str) -> bool:
    """Whether it has the form of an experiment's id."""
    return re.fullmatch("0|[1-9][0-9]{0,17}", given) is not None


def model_name(argument: str, given: Any) -> str:
    """The name of a registered model. Raises FieldInvalid, by the rule of the server, for what can't be one."""
    is_name = isinstance(given, str) and 1 <= len(given) <= 250 and given == given.strip()
    if not is_name or any(letter in "/:@" or unicodedata.category(letter) in _INVISIBLE for letter in given):
        problem = f"{argument} must be {MODEL_NAME_FORM}, not {shown(given)[:80]}"
        length = f", which has {len(given)} characters" if isinstance(given, str) and len(given) > 250 else ""
        raise FieldInvalid(problem + length, fields={argument: f"must be {MODEL_NAME_FORM}"})
    return text(argument, given)


def run_id(argument: str, given: object) -> str:
    """The id of a run as text, empty for None. Raises FieldInvalid, as the server does, for what can't be one."""
    found = converted(given)
    if found and not is_run_id(found):
        raise FieldInvalid(f"{argument}: {found!r} is not {RUN_ID_FORM}", fields={argument: f"must be {RUN_ID_FORM}"})
    return found


def experiment_id(argument: str, given: str | int | None) -> str:
    """The id of an experiment as text, empty for None. Raises FieldInvalid for what can't be one."""
    found = "" if given is None else id_text(argument, given)
    if found and not is_experiment_id(found):
        wanted = EXPERIMENT_ID_FORM
        raise FieldInvalid(f"{argument}: {found!r} is not {wanted}", fields={argument: f"must be {wanted}"})
    return found


def texts(values: Mapping[str, object] | None, argument: str = "tags") -> dict[str, str]:
    """Params or tags as they are stored: every key and value as text. `values` may be a configuration object.

    Raises InvalidArgument for what has no keys and values, and for a text that can't be written as UTF-8.
    """
    return {exact_text(argument, key): exact_text(argument, value) for key, value in members_of(argument, values)}


def exact_text(argument: str, given: object) -> str:
    """Any value as text. Raises InvalidArgument for a text that can't be written as UTF-8."""
    if type(given) is str and given.isascii():  # nearly every text, and a run has hundreds
        return given
    return text(argument, str.__str__(given)) if isinstance(given, str) else text_of(given)


def converted_texts(values: Mapping[str, object] | None, argument: str = "tags") -> dict[str, str]:
    """Params or tags of training code, each as text that protobuf takes. Raises InvalidArgument for no mapping."""
    return {text_of(key): text_of(value) for key, value in members_of(argument, values)}


def count(argument: str, given: int | None) -> int | None:
    """A limit: a whole number from 0, or None for no limit. Raises InvalidArgument."""
    if given is None:
        return None
    number = _whole(given)
    if number is None or number < 0:
        raise refused(argument, given, "a whole number, 0 or more")
    return number


def flag(argument: str, given: object) -> bool:
    """A boolean. Raises InvalidArgument for anything else, such as the text "False", which Python takes for true."""
    if not isinstance(given, bool):
        raise refused(argument, given, "True or False")
    return given


def refused(argument: str, given: object, wanted: str) -> InvalidArgument:
    """The error for an argument that is not valid: its name, its value and what would be right."""
    return InvalidArgument(f"{argument} must be {wanted}, not {shown(given)}", fields={argument: f"must be {wanted}"})


def _whole(given: Any) -> int | None:
    if isinstance(given, bool):
        return None
    try:
        return operator.index(given)
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return None


def _iterated(argument: str, given: Any, wanted: str) -> list[Any]:
    if given is None:
        return []
    try:
        return list(given)
    except TypeError:
        raise refused(argument, given, wanted) from None


def _checking(method: Callable[..., Any]) -> Callable[..., Any]:
    parameters = inspect.signature(method).parameters.values()
    optional = {each.name: each.annotation != "str" for each in parameters if each.annotation in _TEXT}
    if not optional:
        return method
    positions = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, given in (*zip(positions, args, strict=False), *kwargs.items()):
            if name in optional and not (given is None and optional[name]):
                text(name, given)
        return method(*args, **kwargs)

    return checked
