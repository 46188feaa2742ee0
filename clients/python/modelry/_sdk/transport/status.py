"""Turns failed calls into typed errors. This is the only place that reads `grpc-status-details-bin`.

The few messages of `google.rpc` are described here, in a descriptor pool of their own. So the SDK needs no other
package for them, and no other package can clash with them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from modelry._sdk.values.texts import is_printable
from modelry.errors import ModelryError, Unknown

_DETAILS = "grpc-status-details-bin"
_LONGEST_MESSAGE = 4_000
_STRING, _MESSAGE = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_MESSAGE
_BYTES = FieldDescriptorProto.TYPE_BYTES
_BY_CODE: dict[str, type[ModelryError]] = {kind.code: kind for kind in ModelryError.__subclasses__()}
_BY_REASON: dict[str, type[ModelryError]] = {
    kind.reason: kind for parent in _BY_CODE.values() for kind in (parent, *parent.__subclasses__()) if kind.reason
}


class FailedCall(Protocol):
    """What gRPC raises."""

    def code(self) -> Any:
        """The status code."""

    def details(self) -> str | None:
        """The text of the status."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """The metadata that came with the status."""


def error_of(failed: FailedCall) -> ModelryError:
    """The typed error that a failed call stands for."""
    code = failed.code()
    name = code.name if code is not None else "UNKNOWN"
    message = _plain(failed.details() or f"the call failed with {name}")
    for key, value in failed.trailing_metadata() or ():
        if key == _DETAILS:
            return _with_details(name, message, value if isinstance(value, bytes) else value.encode("latin-1"))
    return _error(name, message)


def _plain(text: str) -> str:
    """A text of a server as one line: it goes into logs and terminals, and the server may be a stranger."""
    shown = "".join(map(_shown, text[:_LONGEST_MESSAGE]))
    return shown if len(text) <= _LONGEST_MESSAGE else f"{shown}…"


def _shown(letter: str) -> str:
    return letter if is_printable(letter) else ascii(letter)[1:-1]


def _with_details(code: str, message: str, encoded: bytes) -> ModelryError:
    messages = _messages()
    reason, metadata, fields = "", {}, {}
    try:
        for detail in messages["Status"].FromString(encoded).details:
            kind = detail.type_url.rpartition("/")[2]
            if kind == "google.rpc.ErrorInfo":
                content = messages["ErrorInfo"].FromString(detail.value)
                reason = content.reason
                metadata = {entry.key: entry.value for entry in content.metadata}
            elif kind == "google.rpc.BadRequest":
                content = messages["BadRequest"].FromString(detail.value)
                fields = {violation.field: violation.description for violation in content.field_violations}
    except DecodeError:
        return _error(code, message)
    return _error(code, message, reason=reason, metadata=metadata, fields=fields)


def _error(
    code: str,
    message: str,
    *,
    reason: str = "",
    metadata: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> ModelryError:
    """Makes the error of a reason, or of the code if the reason is unknown or belongs to another code."""
    kind = _BY_CODE.get(code, Unknown)
    exact = _BY_REASON.get(reason)
    if exact is not None and issubclass(exact, kind):
        kind = exact
    return kind(message, reason=reason, metadata=metadata, fields=fields)


@functools.cache
def _messages() -> dict[str, Any]:
    file = FileDescriptorProto(name="modelry/status.proto", package="modelry.status", syntax="proto3")
    _describe(file, "Entry", [("key", 1, _STRING, ""), ("value", 2, _STRING, "")])
    _describe(file, "ErrorInfo", [("reason", 1, _STRING, ""), ("domain", 2, _STRING, ""), ("metadata", 3, 0, "Entry")])
    _describe(file, "Violation", [("field", 1, _STRING, ""), ("description", 2, _STRING, "")])
    _describe(file, "BadRequest", [("field_violations", 1, 0, "Violation")])
    _describe(file, "Detail", [("type_url", 1, _STRING, ""), ("value", 2, _BYTES, "")])
    _describe(file, "Status", [("message", 2, _STRING, ""), ("details", 3, 0, "Detail")])
    pool = DescriptorPool()
    pool.Add(file)
    return {
        name: cast(Any, GetMessageClass(pool.FindMessageTypeByName(f"modelry.status.{name}")))
        for name in ("ErrorInfo", "BadRequest", "Status")
    }


def _describe(file: FileDescriptorProto, name: str, fields: list[tuple[str, int, int, str]]) -> None:
    message = file.message_type.add(name=name)
    for field, number, kind, of in fields:
        repeated = bool(of)
        message.field.add(
            name=field,
            number=number,
            type=cast(Any, _MESSAGE if repeated else kind),
            type_name=f".modelry.status.{of}" if repeated else None,
            label=FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL,
        )
