"""What a run may hold in all.

Each limit leaves room for the others: a run that is filled to all of them is still below the largest message, so it can
always be read, alone and in a list.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from modelry_server.kernel.requests.fields import Excess

MOST_PARAMS, PARAM_BYTES = 5000, 1 << 20
MOST_METRICS, METRIC_KEY_BYTES = 10_000, 768 << 10
MOST_DATASETS, DATASET_BYTES = 1000, 256 << 10
MOST_PARTICIPANTS = 10_000

_WIDEST = 4  # bytes of a character in UTF-8
_REMEMBERED = 100_000


def excess_of_params(new: Mapping[str, str], *, count: int = 0, size: int = 0) -> Excess | None:
    """What all params have too much, once new ones are added to `count` params of `size` bytes."""
    if count + len(new) > MOST_PARAMS:
        return Excess("params", count + len(new), MOST_PARAMS)
    characters = sum(map(len, new)) + sum(map(len, new.values()))
    if size + _WIDEST * characters <= PARAM_BYTES:
        return None  # the usual case: no need to encode them
    size += sum(len(key.encode()) + len(value.encode()) for key, value in new.items())
    return Excess("bytes of params", size, PARAM_BYTES) if size > PARAM_BYTES else None


def excess_of_metrics(keys: Collection[str]) -> Excess | None:
    """What all metrics have too much, by their keys, each of which is given once."""
    if len(keys) > MOST_METRICS:
        return Excess("metrics", len(keys), MOST_METRICS)
    if _WIDEST * sum(map(len, keys)) <= METRIC_KEY_BYTES:
        return None
    size = sum(len(key.encode()) for key in keys)
    return Excess("bytes of metric keys", size, METRIC_KEY_BYTES) if size > METRIC_KEY_BYTES else None


def excess_of_datasets(count: int, size: int) -> Excess | None:
    """What all datasets have too much, by their number and the bytes of their texts."""
    if count > MOST_DATASETS:
        return Excess("datasets", count, MOST_DATASETS)
    return Excess("bytes of datasets", size, DATASET_BYTES) if size > DATASET_BYTES else None


def excess_of_participants(count: int) -> Excess | None:
    """What all participants have too much, by their number."""
    return Excess("participants", count, MOST_PARTICIPANTS) if count > MOST_PARTICIPANTS else None


class KnownMetrics:
    """Remembers which metrics runs have, so that the total is counted only when a batch may bring new ones.

    What it remembers stays true, since a run never loses a metric. For one thread at a time.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[str, set[str]] = OrderedDict()
        self._count = 0

    def has(self, run_id: str, keys: Iterable[str]) -> bool:
        """Whether it knows that the run has all of these metrics."""
        known = self._keys.get(run_id)
        return known is not None and known.issuperset(keys)

    def note(self, run_id: str, keys: set[str]) -> None:
        """Notes all metrics of a run. The runs that were noted first are forgotten when it gets to be too much."""
        self._count += len(keys) - len(self._keys.pop(run_id, ()))
        self._keys[run_id] = keys
        while self._count > _REMEMBERED:
            self._count -= len(self._keys.popitem(last=False)[1])
