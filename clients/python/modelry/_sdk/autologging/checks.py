"""What the options of autologging may be. They are checked where they are given, and not at the first fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any

from modelry._sdk.nouns import arguments

_XGBOOST_TYPES = ("weight", "gain", "cover", "total_gain", "total_cover")
_LIGHTGBM_TYPES = ("split", "gain")


def check(framework: str, given: Mapping[str, Any]) -> None:
    """Raises InvalidArgument for an option of a framework whose value it can't have."""
    for name, value in given.items():
        if name == "registered_model_name" and value is not None:
            arguments.model_name(name, value)
        is_right, wanted = _importance_types(framework) if name == "importance_types" else _RULES[name]
        if not is_right(value):
            raise arguments.refused(name, value, wanted)


def check_flag(name: str, value: Any) -> None:
    """Raises InvalidArgument for what is neither True nor False."""
    if not isinstance(value, bool):
        raise arguments.refused(name, value, _FLAG[1])


def _count(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _or_none(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


def _importance_types(framework: str) -> _Rule:
    known = _LIGHTGBM_TYPES if framework == "lightgbm" else _XGBOOST_TYPES

    def is_right(value: Any) -> bool:
        is_list = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
        return is_list and all(each in known for each in value)

    return _or_none(is_right), f"a list of {', '.join(map(repr, known))}"


_Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what would be."""

_FLAG: _Rule = (lambda value: isinstance(value, bool), "True or False")

_RULES: Mapping[str, _Rule] = {
    "log_models": _FLAG,
    "log_input_examples": _FLAG,
    "log_model_signatures": _FLAG,
    "log_datasets": _FLAG,
    "log_plots": _FLAG,
    "exclusive": _FLAG,
    "disable_for_unsupported_versions": _FLAG,
    "silent": _FLAG,
    "registered_model_name": (lambda value: True, ""),  # judged above
    "extra_tags": (
        _or_none(lambda value: isinstance(value, Mapping)),
        "a mapping of keys to values, such as {'team': 'rides'}, or None",
    ),
    "pos_label": (lambda value: True, ""),
    "max_tuning_runs": (_or_none(_count(0)), "a whole number from 0, or None for all trials"),
    "log_post_training_metrics": _FLAG,
    "log_every_n_step": (_or_none(_count(1)), "a whole number of steps from 1, or None for that of the trainer"),
    "log_every_n_steps": (_or_none(_count(1)), "a whole number of batches from 1, or None for whole epochs"),
    "log_every_n_epoch": (_count(1), "a whole number of epochs from 1"),
    "checkpoint": _FLAG,
    "log_checkpoints": _FLAG,
}
