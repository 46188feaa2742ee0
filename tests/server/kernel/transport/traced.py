"""A program with the real OpenTelemetry SDK: one service calls another, and its spans are printed as JSON.

A process has one tracer provider for good. So this is not a part of the tests' process.
"""

from __future__ import annotations

import json
import sys

import grpc
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from modelry.api.access import v1 as access
from modelry_server.kernel import caller
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Neighbour
from tests.server.kernel.stage import KEY, ask, staged


def main() -> None:
    """Makes two calls, of which the second one fails, and prints the spans and the trace ids of the callers."""
    exporter, seen = InMemorySpanExporter(), []
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def last(name: str) -> str:
        seen.append(caller.current().trace_id)
        if name == "gone":
            raise NotFound("gone")
        if name == "broken":
            raise RuntimeError("broken")
        return name

    with staged(last) as second:
        neighbour = Neighbour("access", second.internal, key=KEY)
        get = neighbour.stub(access.WorkspaceServiceStub).GetWorkspace

        def first(name: str) -> str:
            seen.append(caller.current().trace_id)
            found: str = neighbour.call(get, access.GetWorkspaceRequest(name=name)).workspace.name
            return found

        with staged(first) as one, grpc.insecure_channel(one.address) as channel:
            for name in sys.argv[2:]:
                try:
                    ask(channel, name, metadata=(("traceparent", sys.argv[1]),) if sys.argv[1] else ())
                except grpc.RpcError:
                    continue
        neighbour.close()
    spans = [json.loads(span.to_json()) for span in exporter.get_finished_spans()]
    print(json.dumps({"spans": spans, "callers": seen}))


if __name__ == "__main__":
    main()
