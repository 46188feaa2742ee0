"""Makes the scorer of a kind of model from targets and predictions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.scoring.classifying import AVERAGES, Classified
from modelry._sdk.scoring.given import numbers
from modelry._sdk.scoring.ranking import Ranked
from modelry._sdk.scoring.regressing import Regressed
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.scoring.predicting import Predictions
    from modelry._sdk.scoring.scoring import Array, Floats

log = logging.getLogger("modelry")

MODEL_TYPES = ("classifier", "regressor", "ranker")


def classified(
    targets: Array,
    predicted: Predictions,
    weights: Floats,
    *,
    label_list: Sequence[Any] | None = None,
    pos_label: Any = None,
    average: str = "weighted",
) -> Classified:
    """The scorer of a classifier. The labels are those that are given, or all that occur, sorted.

    Of two labels the last one is positive, unless `pos_label` says otherwise. One column of fractions from 0 to 1
    beside targets of 0 and 1 is the probability of 1. Raises InvalidArgument for labels that don't fit.
    """
    if average not in AVERAGES:
        raise InvalidArgument(f"average={average!r} must be one of {', '.join(AVERAGES)}")
    said, shares, classes = predicted.said, predicted.shares, predicted.classes
    if shares is None and said is not None and _are_shares(targets, said):
        shares, classes = np.column_stack([1 - said, said]), [0, 1]
        said = (said >= 0.5).astype(np.int64)
    if label_list is None:
        _check_of_one_kind(targets, said, classes)
    labels = _labels(targets, said, label_list, classes)
    if shares is not None:
        classes = _classes(classes, labels, shares.shape[1])
        if said is None:
            said = np.array(classes, dtype=object)[shares.argmax(axis=1)]
        labels = list(label_list) if label_list is not None else _union([labels, classes])
        shares = _in_order_of(labels, classes, shares)
    assert said is not None
    positive = None
    if len(labels) == 2:
        positive = 1 if pos_label is None else _position(labels, pos_label)
    elif pos_label is not None:
        raise InvalidArgument(f"pos_label={pos_label!r} is for two classes, and there are {len(labels)}: {labels[:20]}")
    return Classified(
        targets=_codes(targets, labels, "targets"),
        said=_codes(said, labels, "predictions"),
        labels=labels,
        weights=weights,
        shares=shares,
        positive=positive,
        average=average,
        why_none=predicted.why_none,
    )


def regressed(targets: Array, predicted: Predictions, weights: Floats) -> Regressed:
    """The scorer of a regressor. Raises InvalidArgument for what are no numbers."""
    return Regressed(numbers(targets, "targets"), numbers(predicted.said, "predictions"), weights)


def ranked(
    targets: Array, predicted: Predictions, weights: Floats, queries: Array, *, k: int | Sequence[int], seed: int
) -> Ranked:
    """The scorer of a ranker. The weight of a query is that of its rows, which must be equal.

    Raises InvalidArgument for ranks below 1, and negative targets.
    """
    ks = sorted({k} if isinstance(k, int) else {int(each) for each in k})
    if not ks or ks[0] < 1:
        raise InvalidArgument(f"k={k!r} must be ranks of 1 or more")
    relevance = numbers(targets, "targets")
    if (relevance < 0).any():
        raise InvalidArgument(f"the targets of a ranker are relevances from 0; the smallest is {relevance.min():g}")
    _, first, positions = np.unique(queries, return_index=True, return_inverse=True)
    by_query = weights[first]
    if (by_query[positions] != weights).any():
        raise InvalidArgument("weights: the rows of a query must have the same weight, since queries are averaged")
    return Ranked(relevance, numbers(predicted.said, "predictions"), positions, by_query, ks, seed)


def _are_shares(targets: Array, said: Array) -> bool:
    if said.dtype.kind != "f" or targets.dtype.kind not in "biuf" or not len(said):
        return False
    is_fraction = said.min() >= 0 and said.max() <= 1 and (said != np.round(said)).any()
    return bool(is_fraction and np.isin(targets, (0, 1)).all())


def _check_of_one_kind(targets: Array, said: Array | None, classes: Sequence[Any] | None) -> None:
    """Raises InvalidArgument for predictions that can't mean labels of the targets, and warns of those that may not.

    They can't if one side is texts, if they are scores, if they differ in spelling only, or if the model names its
    classes and the targets have none of them. Else a model may have missed all rows.
    """
    true, other = _distinct(targets), [] if said is None else _distinct(said)
    named = _plain_labels(classes or [])
    if (not other and not named) or set(true) & {*other, *named}:
        return
    if not other and all(isinstance(each, str) for each in named) and not any(isinstance(each, str) for each in true):
        return  # They are the names of the columns of a table of probabilities.
    came = other or named
    found = f"the targets are {_listed(true)} and the predictions {_listed(came)}, with no label in both"
    if said is not None and said.dtype.kind == "f" and (said != np.round(said)).any():
        advice = (
            "the predictions look like scores; give labels, or name a column of probabilities with probabilities=..."
        )
    elif {str(each).strip().casefold() for each in true} & {str(each).strip().casefold() for each in came}:
        kinds = f"{type(true[0]).__name__} and {type(came[0]).__name__}"
        advice = f"they differ in type ({kinds}) or spelling only; bring them to one, such as with targets.astype(...)"
    elif len({isinstance(each, str) for each in (*true, *came)}) > 1:
        advice = "some labels are texts and some are not; map the predictions to the labels of the targets"
    elif named:
        advice = f"the model knows {_listed(named)} only; map its predictions to the labels of the targets"
    else:
        log.warning("evaluate: %s: if they should mean the same, map one to the other, for else no row is right", found)
        return
    raise InvalidArgument(f"{found}: {advice}")


def _listed(labels: Sequence[Any]) -> str:
    return ", ".join(map(repr, labels[:5])) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")


def labels_of(targets: Array, said: Array | None) -> list[Any]:
    """All labels that occur, sorted."""
    return _labels(targets, said, None, None)


def _labels(
    targets: Array, said: Array | None, label_list: Sequence[Any] | None, classes: Sequence[Any] | None
) -> list[Any]:
    if label_list is not None:
        labels = list(label_list)
        if len(set(labels)) != len(labels) or not labels:
            raise InvalidArgument(f"label_list={labels!r} must have each label once")
        return labels
    found = _union([_distinct(targets), [] if said is None else _distinct(said), classes or []])
    return [0, 1] if len(found) == 1 and found[0] in (0, 1) else found


def _distinct(values: Array) -> list[Any]:
    try:
        return _plain_labels(np.unique(values))
    except TypeError:
        return list(dict.fromkeys(values.tolist()))


def _plain_labels(values: Iterable[Any]) -> list[Any]:
    return [each.item() if isinstance(each, np.generic) else each for each in values]


def _union(groups: Iterable[Iterable[Any]]) -> list[Any]:
    every = dict.fromkeys(each.item() if isinstance(each, np.generic) else each for group in groups for each in group)
    texts = {isinstance(each, str) for each in every}
    if len(texts) > 1:
        some = sorted(map(repr, every))[:6]
        raise InvalidArgument(
            f"some labels are texts and some are not: {', '.join(some)}; bring targets and predictions to one type"
        )
    try:
        return sorted(every)
    except TypeError:
        return sorted(every, key=str)


def _classes(classes: Sequence[Any] | None, labels: list[Any], width: int) -> list[Any]:
    """The label of each column of probabilities."""
    if classes is not None and len(classes) == width:
        found = _plain_labels(classes)
        if all(isinstance(each, str) for each in found) and not any(isinstance(each, str) for each in labels):
            found = labels if len(labels) == width else found
        return found
    if len(labels) == width:
        return labels
    if all(isinstance(each, int) and 0 <= each < width for each in labels):
        return list(range(width))
    raise InvalidArgument(
        f"the model gives probabilities of {width} classes, and there are {len(labels)} labels ({labels[:10]}); give "
        "label_list, in the order of the columns"
    )


def _in_order_of(labels: list[Any], classes: Sequence[Any], shares: Floats) -> Floats:
    ordered = np.zeros((len(shares), len(labels)), dtype=shares.dtype)
    for column, label in enumerate(classes):
        if label in labels:
            ordered[:, labels.index(label)] = shares[:, column]
    return ordered


def _position(labels: list[Any], label: Any) -> int:
    if label not in labels:
        raise InvalidArgument(f"pos_label={label!r} is none of the labels, which are {labels}")
    return labels.index(label)


def _codes(values: Array, labels: list[Any], what: str) -> Array:
    """The position of each value in the labels."""
    position = {label: at for at, label in enumerate(labels)}
    try:
        distinct, inverse = np.unique(values, return_inverse=True)
    except TypeError:
        distinct, inverse = values, np.arange(len(values))
    if unknown := [each for each in distinct.tolist() if each not in position]:
        raise InvalidArgument(f"{what} has the label {unknown[0]!r}, which is none of {labels[:20]}")
    codes = np.array([position[each] for each in distinct.tolist()], dtype=np.int64)
    found: Array = codes[inverse]
    return found
