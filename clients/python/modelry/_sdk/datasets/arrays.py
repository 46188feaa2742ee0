"""Datasets from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelry._sdk.datasets import digests
from modelry._sdk.datasets.dataset import Dataset, json_of, undescribed, warn_if_empty
from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of
from modelry._sdk.values.texts import text_of


def from_numpy(
    features: Any, source: str = "", targets: Any = None, name: str | None = None, digest: str | None = None
) -> Dataset:
    """Describes a NumPy array and its targets; or tensors, nested lists, sparse matrices, and dictionaries of those.

    The digest covers shapes, types and every element; see `from_pandas`, also for what can't be described.
    """
    try:
        arrays = _named("features", features) | ({} if targets is None else _named("targets", targets))
        content = (
            None if digest else {named: list(map(digests.of_array, _parts(each))) for named, each in arrays.items()}
        )
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return undescribed(features, problem, name=name, source=source, digest=digest)
    schema = {named: {"shape": list(array.shape), "type": str(array.dtype)} for named, array in arrays.items()}
    first = next(iter(arrays.values()), None)
    size = {} if first is None else {"features_shape": list(first.shape), "features_size": int(first.size)}
    if first is not None:
        warn_if_empty(name or "dataset", first.shape[0] if first.shape else 1)
    found = Dataset(
        name or "dataset",
        digest=digest or digests.digest_of([content, schema]),
        source=source,
        schema=json_of(schema),
        profile=json_of(size),
    )
    return found.holding(features, targets)


def _named(name: str, given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {f"{name}.{text_of(key)}": _array(value) for key, value in given.items()}
    return {name: _array(given)}


def _array(given: Any) -> Any:
    return given.tocsr() if hasattr(given, "tocsr") else array_of(given)


def _parts(array: Any) -> list[Any]:
    """What the digest reads of an array, or of a sparse matrix of SciPy."""
    return [array.data, array.indices, array.indptr] if hasattr(array, "indptr") else [array]
