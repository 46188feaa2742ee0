"""Whether and how the use of the machine is sampled, for the runs of this process. The names are MLflow's."""

from __future__ import annotations

import math

from modelry._sdk.observing.sampling import Sampling
from modelry._sdk.transport import process
from modelry._sdk.values.texts import shown
from modelry.errors import InvalidArgument

_SHORTEST = 0.1
_LONGEST = 86_400.0
_MOST_SAMPLES = 10_000


def enable_system_metrics_logging() -> None:
    """Samples the use of the machine for the runs that follow, whatever `MODELRY_SYSTEM_METRICS` says."""
    process.current().part(Sampling).is_on = True


def disable_system_metrics_logging() -> None:
    """Samples nothing for the runs that follow, unless `start_run(log_system_metrics=True)` asks for it."""
    process.current().part(Sampling).is_on = False


def set_system_metrics_sampling_interval(interval: float | None) -> None:
    """Sets the time between samples, in seconds from 0.1 to 86,400. None: as `MODELRY_SYSTEM_METRICS_INTERVAL` says.

    It counts for open runs too, from their next sample on. Raises InvalidArgument for another value.
    """
    if interval is not None:
        is_number = isinstance(interval, int | float) and not isinstance(interval, bool) and math.isfinite(interval)
        if not is_number or not _SHORTEST <= interval <= _LONGEST:
            raise InvalidArgument(
                f"the interval {interval!r} is not valid; give seconds from {_SHORTEST} to {_LONGEST:,.0f}, or None",
                fields={"interval": f"must be a number from {_SHORTEST} to {_LONGEST:,.0f}"},
            )
    process.current().part(Sampling).interval = interval


def set_system_metrics_samples_before_logging(samples: int | None) -> None:
    """Sets of how many samples the mean is logged, as one point: 1 to 10,000. None: 1, every sample is logged.

    Of totals that only grow, such as what was received, the last value is logged. It counts for open runs too. Samples
    that are fewer when a run ends are not logged. Raises InvalidArgument for another value.
    """
    if samples is not None:
        is_number = isinstance(samples, int) and not isinstance(samples, bool)
        if not is_number or not 0 < samples <= _MOST_SAMPLES:
            raise InvalidArgument(
                f"the number of samples {shown(samples)} is not valid; give a whole number from 1 to "
                f"{_MOST_SAMPLES:,}, or None",
                fields={"samples": f"must be a whole number from 1 to {_MOST_SAMPLES:,}"},
            )
    process.current().part(Sampling).samples = samples or 1


def set_system_metrics_node_id(node_id: str | None) -> None:
    """Sets what this machine is called in the names of metrics: `system/NODE_ID/…`. None: its name, in jobs of several.

    Raises InvalidArgument for what is not a text of 1 to 100 characters without `/`.
    """
    if node_id is not None and (not isinstance(node_id, str) or not 0 < len(node_id) <= 100 or "/" in node_id):
        raise InvalidArgument(
            f"the node id {node_id!r} is not valid; give a text of 1 to 100 characters without '/', or None",
            fields={"node_id": "must be a text of 1 to 100 characters without '/'"},
        )
    process.current().part(Sampling).node_id = node_id
