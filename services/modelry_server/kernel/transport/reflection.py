"""Reflection under both of its names: clients ask for v1, older ones for v1alpha.

The messages of both are the same on the wire. gRPC for Python knows v1alpha only.
"""

from collections.abc import Sequence

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

SERVICE = reflection.SERVICE_NAME
"""The name that lists of services have."""

_V1 = "grpc.reflection.v1.ServerReflection"


def enable(server: grpc.Server, services: Sequence[str], pool: DescriptorPool) -> None:
    """Describes services to clients, by the files in a pool."""
    servicer = reflection.ReflectionServicer(services, pool=pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": method}
    names = (SERVICE, _V1)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name in names])
