"""A dataset that is given as data: its rows, its targets, and what is recorded of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelry._sdk.datasets.dataset import Dataset
from modelry._sdk.nouns import datasets
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.evaluating.options import Options


def unpacked(options: Options) -> Options:
    """The options with the rows of a dataset of `modelry.data`, or of MLflow, as data, and the dataset beside them.

    Its targets and predictions count unless others are given; its columns of them are no features in any case. Raises
    InvalidArgument for a dataset that does not have its rows, and for a model in the place of the data.
    """
    given = options.data
    if (
        hasattr(given, "predict")
        or callable(given)
        or (isinstance(given, str) and given.startswith(("runs:", "models:")))
    ):
        what = repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
        raise InvalidArgument(
            f"data is {what}, which is a model; the order is evaluate(model, data, targets), "
            "are model and data swapped?"
        )
    if isinstance(given, Dataset):
        rows, targets, predictions = given.data, given.targets, None
    elif isinstance(given, datasets.Dataset) or _is_of_mlflow(given):
        rows = next((getattr(given, name) for name in ("df", "features", "ds") if hasattr(given, name)), None)
        targets, predictions = getattr(given, "targets", None), getattr(given, "predictions", None)
    else:
        return options
    if rows is None:
        raise InvalidArgument(
            f"data is the dataset {given.name!r}, which does not have its rows; give the table, the array or the "
            "mapping itself, or modelry.data.from_pandas(...) of it"
        )
    has_own = options.model is not None or options.predictions is not None or options.probabilities is not None
    return replace(
        options,
        data=rows,
        targets=targets if options.targets is None else options.targets,
        predictions=options.predictions if has_own else predictions,
        dataset=_recorded(given, options.dataset_name),
        answers=tuple(name for name in (targets, predictions) if isinstance(name, str | int | tuple)),
    )


def _recorded(given: Any, name: str | None) -> Dataset:
    found = datasets.dataset_from(given)
    described = {field: getattr(found, field) for field in ("digest", "source", "source_type", "schema", "profile")}
    return Dataset(name or found.name, **described)


def _is_of_mlflow(given: Any) -> bool:
    return any(kind.__module__.startswith("mlflow.data.") for kind in type(given).__mro__)
