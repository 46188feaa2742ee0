"""Whether and how the use of the machine is sampled, for the runs of this process. The names are MLflow's."""

from __future__ import annotations

import math

from modelry._sdk.observing.sampling import Sampling
from modelry._sdk.transport import process
from modelry.errors import InvalidArgument

_SHORTEST = 0.1
_LONGEST = 86_400.0


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
