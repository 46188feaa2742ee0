"""A server that answers at random: each function of the client answers too, or raises one of our errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import modelry.pyfunc
from modelry import Client
from modelry.errors import ModelryError

RUN = "0" * 32
TEXTS = ["", "default", "a", "é", "\0", "x" * 300, "../x", "/etc/passwd", "latest", "3", "a/b", "\x1b[31mred", "NaN"]
TEXTS += ['{"a":1', "[[1]]", "[" * 9_000, "a\nb", "\u2028", "=cmd()", RUN, f"runs/{RUN}", "metric", "model/MLmodel"]
NUMBERS = [0, 1, -1, 2, 7, 1000, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**12, 253402300800, -62135596801]
FLOATS = [0.0, 1.0, float("nan"), float("inf"), -float("inf"), 1e308]
CALLS = 700


class AtRandom(grpc.GenericRpcHandler):
    """Answers each rpc with any message of its type."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call."""
        service, _, name = handler_call_details.method[1:].partition("/")
        rpc = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]

        def answer() -> bytes:
            message = GetMessageClass(rpc.output_type)()
            self._fill(message)
            return message.SerializeToString()

        def stream(request: object, context: object) -> Iterator[bytes]:
            return (answer() for _ in range(self._random.choice([0, 1, 2, 5])))

        if rpc.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: answer())

    def _fill(self, message: Message, depth: int = 0) -> None:
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.25 or depth > 6:
                continue
            inner = getattr(message, field.name)
            kind = field.message_type
            if kind is not None and kind.GetOptions().map_entry:
                value = kind.fields_by_name["value"]
                for key in self._random.sample(TEXTS[:6], 2):
                    if value.message_type is None:
                        self._try(inner.__setitem__, key, self._value(value))
                    else:
                        self._fill(inner[key], depth + 1)
            elif kind is not None and field.is_repeated:
                for _ in range(self._random.choice([0, 1, 1, 3])):
                    self._fill(inner.add(), depth + 1)
            elif kind is not None:
                inner.SetInParent()
                self._fill(inner, depth + 1)
            elif field.is_repeated:
                self._try(inner.extend, [self._value(field) for _ in range(self._random.choice([0, 1, 2, 4]))])
            else:
                self._try(setattr, message, field.name, self._value(field))

    @staticmethod
    def _try(put: Callable[..., object], *values: object) -> None:
        try:
            put(*values)
        except ValueError:  # a number that the field can't hold
            return

    def _value(self, field: Any) -> Any:
        if field.type == FieldDescriptor.TYPE_STRING:
            return "" if field.name == "next_page_token" and self._random.random() < 0.85 else self._text()
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._random.choice([b"", b"\0" * 8, b"\xff" * 16, b"flavors: {a: !!bool x}"])
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return self._random.choice(FLOATS)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self._random.random() < 0.5
        if field.type == FieldDescriptor.TYPE_ENUM:
            return self._random.choice([0, 1, 2, 3, 99, -1])
        return self._random.choice(NUMBERS)

    def _text(self) -> str:
        return self._random.choice(TEXTS)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_function_answers_or_raises_an_error_of_ours(tmp_path: Path, seed: int) -> None:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[AtRandom(seed)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Client(f"grpc://127.0.0.1:{port}")
    choice = random.Random(seed)
    functions = functions_of(client, tmp_path)
    answered, raised = set(), set()
    try:
        for _ in range(CALLS):
            name = choice.choice(list(functions))
            try:
                functions[name]()
                answered.add(name)
            except ModelryError:
                raised.add(name)
    finally:
        client._connection.close()
        server.stop(None).wait()
    assert len(answered) > 10
    assert len(raised) > 10


def functions_of(client: Client, folder: Path) -> dict[str, Callable[[], object]]:
    """What reads, by name. Results are shown, because some are made then."""
    return {
        "runs.get": lambda: repr(client.runs.get(RUN)),
        "runs.search": lambda: repr(client.runs.search(["1"], max_results=5)),
        "experiments.get": lambda: repr(client.experiments.get("1")),
        "experiments.create": lambda: repr(client.experiments.create("x")),
        "experiments.get_by_name": lambda: repr(client.experiments.get_by_name("x")),
        "experiments.search": lambda: repr(client.experiments.search(max_results=5)),
        "metrics.read": lambda: repr(client.metrics.read(RUN, "a")),
        "metrics.read_many": lambda: repr(list(client.metrics.read_many([RUN]))),
        "datasets.get": lambda: repr(client.datasets.get("x")),
        "datasets.search": lambda: repr(client.datasets.search(max_results=5)),
        "artifacts.get": lambda: repr(client.artifacts.get(f"runs/{RUN}", "a")),
        "artifacts.list": lambda: repr(client.artifacts.list(f"runs/{RUN}", recursive=True)),
        "artifacts.read_bytes": lambda: repr(client.artifacts.read_bytes(f"runs/{RUN}", "a")),
        "artifacts.download": lambda: client.artifacts.download(f"runs/{RUN}", "a", folder),
        "artifacts.download, all": lambda: client.artifacts.download(f"runs/{RUN}", "", folder),
        "artifacts.download, version": lambda: client.artifacts.download(f"versions/{RUN}", "", folder),
        "models.get": lambda: repr(client.models.get("m")),
        "models.search": lambda: repr(client.models.search(max_results=5)),
        "versions.get": lambda: repr(client.versions.get("m", 1)),
        "versions.resolve": lambda: repr(client.versions.resolve("models:/m/1")),
        "versions.search": lambda: repr(client.versions.search(max_results=5)),
        "versions.latest": lambda: repr(client.versions.latest("m")),
        "aliases.get": lambda: repr(client.aliases.get("m", "a")),
        "promotions.list": lambda: repr(client.promotions.list("m")),
        "events.list": lambda: repr(client.events.list()),
        "audit.list": lambda: repr(client.audit.list("m")),
        "audit.verify": lambda: repr(client.audit.verify("m")),
        "workspaces.list": lambda: repr(client.workspaces.list()),
        "workspaces.get": lambda: repr(client.workspaces.get("w")),
        "whoami": lambda: repr(client.whoami()),
        "principals.get": lambda: repr(client.principals.get("p")),
        "principals.list": lambda: repr(client.principals.list()),
        "groups.get": lambda: repr(client.groups.get("g")),
        "groups.members": lambda: repr(client.groups.members("g")),
        "roles.get": lambda: repr(client.roles.get("r")),
        "roles.list": lambda: repr(client.roles.list()),
        "roles.binding": lambda: repr(client.roles.binding(RUN)),
        "roles.bindings": lambda: repr(client.roles.bindings(principal=RUN)),
        "tokens.get": lambda: repr(client.tokens.get(RUN)),
        "tokens.list": lambda: repr(client.tokens.list()),
        "tokens.rotate": lambda: repr(client.tokens.rotate(RUN)),
        "audit.list_access": lambda: repr(client.audit.list_access()),
        "audit.verify_access": lambda: repr(client.audit.verify_access()),
        "pyfunc.load_model": lambda: modelry.pyfunc.load_model("models:/m/1", client=client),
    }
