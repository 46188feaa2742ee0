"""What clients hold, and what is refused or ended because of a limit on that: as Prometheus is told.

The words of `kind` are those of docs/operating.md.
"""

import prometheus_client

held = prometheus_client.Gauge("modelry_rpc_held", "What clients hold, by listener and kind.", ["listener", "kind"])
ended_total = prometheus_client.Counter(
    "modelry_rpc_ended_total", "Calls and streams that a limit on what clients hold has refused or ended.", ["kind"]
)
