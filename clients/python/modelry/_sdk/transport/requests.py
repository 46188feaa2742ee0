"""Requests as bytes, and what is said of one that no server takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.message import Message

MOST_BYTES = 4 << 20
"""How large a request may be: the limit of the contract, at which gRPC refuses it without details."""


def encoded(request: Message) -> bytes:
    """A request as it is sent. Raises InvalidArgument, which names the largest field, for one that is too large."""
    content = request.SerializeToString()
    if len(content) <= MOST_BYTES:
        return content
    path, size = _largest(request)
    raise InvalidArgument(
        f"the request has {len(content)} bytes, at most {MOST_BYTES} are allowed; its largest field is {path}, with "
        f"{size} bytes",
        reason="REQUEST_TOO_LARGE",
        metadata={"field": path, "size_bytes": str(len(content)), "limit_bytes": str(MOST_BYTES)},
        fields={path: f"has {size} bytes, but a request has at most {MOST_BYTES} in all"},
    )


def _largest(request: Message) -> tuple[str, int]:
    """The path and the size in bytes of the largest field, at any depth of single messages."""
    names: list[str] = []
    message: Any = request
    size = 0
    while set_fields := message.ListFields():
        size, field = max(((_size_of(message, each.name), each) for each, _ in set_fields), key=lambda found: found[0])
        names.append(field.name)
        value = getattr(message, field.name)
        if not hasattr(value, "ListFields"):  # it is repeated, a map, or no message
            break
        message = value
    return ".".join(names), size


def _size_of(message: Any, name: str) -> int:
    rest = type(message)()
    rest.CopyFrom(message)
    rest.ClearField(name)
    return int(message.ByteSize() - rest.ByteSize())
