"""What a run may hold in all.

Each limit leaves room for the others: a run that is filled to all of them is still below the largest message, so it can
always be read, alone and in a list.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from modelry_server.kernel.requests.fields import Fields

MOST_PARAMS, PARAM_BYTES = 5000, 1 << 20
MOST_METRICS, METRIC_KEY_BYTES = 10_000, 768 << 10
MOST_DATASETS, DATASET_BYTES = 1000, 256 << 10

_WIDEST = 4  # bytes of a character in UTF-8
_REMEMBERED = 100_000


def judge_params(fields: Fields, new: Mapping[str, str], *, count: int = 0, size: int = 0) -> None:
    """New params of a run that has `count` params already, of `size` bytes."""
    _judge(fields, "params", count + len(new), MOST_PARAMS)
    characters = sum(map(len, new)) + sum(map(len, new.values()))
    if size + _WIDEST * characters <= PARAM_BYTES:
        return  # the usual case: no need to encode them
    size += sum(len(key.encode()) + len(value.encode()) for key, value in new.items())
    _judge(fields, "params", size, PARAM_BYTES, "bytes of params")


def judge_metrics(fields: Fields, keys: Collection[str]) -> None:
    """All keys of metrics that a run has, or would have, each of them once."""
    _judge(fields, "metrics", len(keys), MOST_METRICS)
    if _WIDEST * sum(map(len, keys)) > METRIC_KEY_BYTES:
        _judge(fields, "metrics", sum(len(key.encode()) for key in keys), METRIC_KEY_BYTES, "bytes of metric keys")


def judge_datasets(fields: Fields, *, count: int, size: int) -> None:
    """The number of datasets that a run would have, and the bytes of their texts."""
    _judge(fields, "inputs", count, MOST_DATASETS, "datasets")
    _judge(fields, "inputs", size, DATASET_BYTES, "bytes of datasets")


def _judge(fields: Fields, path: str, total: int, most: int, what: str = "") -> None:
    if total > most:
        fields.refuse(path, f"the run would have {total} {what or path} in all, at most {most} are allowed")


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
