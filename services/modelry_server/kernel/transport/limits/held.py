"""What clients hold, and what is refused or ended because of a limit on that: as Prometheus is told.

The words of `kind` are those of docs/operating.md.
"""

import grpc
import prometheus_client

from modelry_server.kernel.telemetry import Log

SHORT_S = 1.0
"""How long a call or stream may wait for its client, in seconds, while others want what it holds."""
_log = Log("rpc")

held = prometheus_client.Gauge("modelry_rpc_held", "What clients hold, by listener and kind.", ["listener", "kind"])
limit = prometheus_client.Gauge(
    "modelry_rpc_limit", "How much of it clients can hold at most, by listener and kind.", ["listener", "kind"]
)
ended_total = prometheus_client.Counter(
    "modelry_rpc_ended_total", "Calls and streams that a limit on what clients hold has refused or ended.", ["kind"]
)


def end(kind: str, call: grpc.ServicerContext) -> None:
    """Cancels a call or stream that waits for its client while others want its place; tells the metrics and the log."""
    ended_total.labels(kind).inc()
    _log.seldom("rpc.waited_too_long", per=kind, wanted=kind, peer=call.peer())
    call.cancel()
