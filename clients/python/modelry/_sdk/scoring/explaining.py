"""Explanations: how much each feature moves what the model says, by SHAP (Lundberg and Lee, 2017).

Trees are explained by their own algorithm (Lundberg et al., 2020) and linear models by theirs: both explain the raw
output, such as log-odds. Any other model is explained from outside, by permutations of its features: then it is the
probabilities or the predictions that are explained. So that this can't take arbitrarily long, rows, features and time
are bounded.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.scoring.classifying import Classified
from modelry._sdk.scoring.features import Coded
from modelry._sdk.scoring.predicting import with_probabilities
from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of
from modelry._sdk.values.texts import said_of
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Floats, Scorer

log = logging.getLogger("modelry")

ROWS, MOST_ROWS = 200, 5000
"""How many rows are explained by default, and at most."""
SECONDS = 60.0
"""After this time no further row is begun. Import and first row, in which shap compiles itself, are not counted."""
MISSING = "shap is not installed: pip install 'modelry[explain]'"
_BACKGROUND_ROWS = 100
_MOST_FEATURES = 500
_ASKED_PER_ROW = 500
_ROWS_AT_ONCE = 50
_MOST_OUTPUTS = 10


@dataclass(frozen=True, slots=True)
class Explained:
    """SHAP values of rows. `values` has the shape (rows, features, outputs), `features` (rows, features).

    `outputs` names what is explained: the positive class, each of more classes, or one empty text. `of` says in which
    unit. Features that are no numbers have codes in the order in which values come.
    """

    names: Sequence[str]
    values: Floats
    features: Floats
    outputs: Sequence[str]
    algorithm: str
    of: str
    background_rows: int

    def table(self) -> list[dict[str, Any]]:
        """A row for each feature, that with the largest mean size of its SHAP values first."""
        by_output = np.abs(self.values).mean(axis=0)
        means = by_output.mean(axis=1)
        rows = []
        for at in np.argsort(-means, kind="stable").tolist():
            row: dict[str, Any] = {"feature": self.names[at], "mean_abs_shap_value": float(means[at])}
            if len(self.outputs) > 1:
                row |= {f"of {name}": float(by_output[at, each]) for each, name in enumerate(self.outputs)}
            rows.append(row)
        return rows

    def told(self) -> dict[str, Any]:
        """How they were computed."""
        return {
            "algorithm": self.algorithm,
            "of": self.of,
            "outputs": [name for name in self.outputs if name],
            "rows": len(self.values),
            "background_rows": self.background_rows,
        }


@dataclass(frozen=True, slots=True)
class _Question:
    """What is to be explained: the model, its features as numbers, and the labels of a classifier."""

    model: Any
    background: Coded
    rows: Coded
    labels: Sequence[Any]
    positive: int | None

    @property
    def wanted(self) -> Sequence[Any]:
        """The labels whose outputs are explained."""
        if self.positive is not None:
            return [self.labels[self.positive]]
        return self.labels[:_MOST_OUTPUTS]

    @property
    def raw(self) -> Any:
        """The model inside a pyfunc, if there is one."""
        try:
            return self.model.get_raw_model()
        except Exception as problem:  # There is none, or MLflow raises one of several kinds.
            signals.pass_on(problem)
            return self.model


def explained(model: Any, features: Any, scorer: Scorer | None, rows: int, seed: int) -> tuple[Explained | None, str]:
    """The SHAP values of up to so many rows, drawn by `seed`; or why there are none. Raises nothing."""
    if importlib.util.find_spec("shap") is None:
        return None, MISSING
    try:
        with _as_it_was():
            return _explained(model, features, scorer, rows, seed), ""
    except Exception as problem:  # It calls SHAP and the model, which may raise anything.
        signals.pass_on(problem)
        return None, f"{type(problem).__name__}: {said_of(problem)}"


def _explained(model: Any, features: Any, scorer: Scorer | None, count: int, seed: int) -> Explained:
    shap = importlib.import_module("shap")
    every = Coded.of(features)
    order = np.random.default_rng(seed).permutation(every.rows)
    labels, positive = (scorer.labels, scorer.positive) if isinstance(scorer, Classified) else ([], None)
    question = _Question(model, every.part(order[:_BACKGROUND_ROWS]), every.part(order[-count:]), labels, positive)
    for begin in (_tree, _linear):
        try:
            if (explain := begin(shap, question)) is not None:
                return _in_time(question, explain, begin.__name__.lstrip("_"), "raw output of the model")
        except Exception as problem:  # SHAP does not know every model that it takes: then it is asked from outside.
            signals.pass_on(problem)
            log.debug("evaluate: %s explains no %s: %s", begin.__name__, type(model).__name__, said_of(problem))
    if len(every.names) > _MOST_FEATURES:
        raise InvalidArgument(
            f"there are {len(every.names)} features; models other than trees and linear ones are explained for at most "
            f"{_MOST_FEATURES}"
        )
    ask, of = _asked(question)
    masker = shap.maskers.Independent(question.background.numbers, max_samples=_BACKGROUND_ROWS)
    general = shap.PermutationExplainer(lambda part: ask(question.rows.back(part)), masker, seed=seed)
    asked = max(_ASKED_PER_ROW, 2 * len(every.names) + 1)
    return _in_time(
        question,
        lambda part: general(part.numbers, max_evals=asked, silent=True).values,
        "permutation",
        of,
        rows_at_once=1,
    )


def _tree(shap: Any, question: _Question) -> Callable[[Coded], Any] | None:
    raw = question.raw
    if not shap.TreeExplainer.supports_model_with_masker(raw, None):
        return None
    explainer = shap.TreeExplainer(raw)
    return lambda part: _of_wanted(explainer(part.features).values, raw, question)


def _linear(shap: Any, question: _Question) -> Callable[[Coded], Any] | None:
    raw, masker = question.raw, shap.maskers.Independent(question.background.numbers)
    if question.rows.has_codes or not shap.LinearExplainer.supports_model_with_masker(raw, masker):
        return None
    explainer = shap.LinearExplainer(raw, masker)
    return lambda part: _of_wanted(explainer(part.numbers).values, raw, question)


def _of_wanted(values: Any, raw: Any, question: _Question) -> Any:
    """The values of the wanted classes. With one output for two classes it is that of the second one."""
    classes = _classes(raw, question)
    if np.ndim(values) == 2:
        is_first = len(classes) == 2 and list(question.wanted) == classes[:1]
        return -values if is_first else values
    if not classes:
        return values
    return np.asarray(values)[:, :, [classes.index(label) for label in question.wanted]]


def _classes(model: Any, question: _Question) -> list[Any]:
    named = getattr(model, "classes_", None)
    return list(question.labels) if named is None else np.asarray(named).tolist()


def _asked(question: _Question) -> tuple[Callable[[Any], Any], str]:
    """A function of features that gives numbers, and what they are."""
    predict = getattr(question.model, "predict", None) or question.model
    if not question.labels:
        return lambda features: array_of(predict(features)).reshape(-1), "prediction"
    if (able := with_probabilities(question.model)) is not None:
        classes = _classes(able, question)
        columns = [classes.index(label) for label in question.wanted]
        return lambda features: array_of(able.predict_proba(features))[:, columns], "probability"

    def share(features: Any) -> Any:
        said = array_of(predict(features))
        if said.ndim == 2 and said.shape[1] > 1:
            return said[:, [list(question.labels).index(label) for label in question.wanted]]
        if said.dtype.kind == "f":
            return said.reshape(-1)
        return np.column_stack([said.reshape(-1) == label for label in question.wanted]).astype(np.float64)

    return share, "prediction"


def _in_time(
    question: _Question,
    explain: Callable[[Coded], Any],
    algorithm: str,
    of: str,
    *,
    rows_at_once: int = _ROWS_AT_ONCE,
) -> Explained:
    """Explains part by part until all is done, or the time is over."""
    rows, done = question.rows, 0
    parts: list[Floats] = []
    until: float | None = None
    while done < rows.rows and (until is None or time.monotonic() < until):
        part = rows.part(np.arange(done, min(done + (rows_at_once if parts else 1), rows.rows)))
        values = np.asarray(explain(part), dtype=np.float64)
        parts.append(values[:, :, np.newaxis] if values.ndim == 2 else values)
        done += part.rows
        until = until or time.monotonic() + SECONDS
    if done < rows.rows:
        log.warning("evaluate: %d of %d rows are explained, since that took %g s", done, rows.rows, SECONDS)
    every = np.concatenate(parts)
    names = [str(label) for label in question.wanted][: every.shape[2]] or [""] * every.shape[2]
    return Explained(rows.names, every, rows.numbers[:done], names, algorithm, of, question.background.rows)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Undoes that SHAP seeds and uses NumPy's global generator, and keeps its warnings to itself."""
    state = np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)
