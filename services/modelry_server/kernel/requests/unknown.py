"""Fields that this release does not know, because who sent them is of a later one.

protobuf keeps them apart and nobody reads them. Mostly that is right. But what limits must not be lost: a token whose
cap is not read may do more than was asked for.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from modelry_server.kernel.requests.fields import Fields

_TAKES_AWAY = ("Delete", "Remove", "Revoke")
_Servicer = TypeVar("_Servicer")


def unknown_fields(message: Message, prefix: str = "") -> Iterator[str]:
    """The paths of the fields that this release does not know, in a message and in those that it holds.

    A path ends with the number of the field, since its name is not known: `place.7`.
    """
    unknown = UnknownFieldSet(message)
    for index in range(len(unknown)):
        yield f"{prefix}{unknown[index].field_number}"
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if not field.is_repeated:
            yield from unknown_fields(value, f"{prefix}{field.name}.")
        elif not field.message_type.GetOptions().map_entry:
            for index, item in enumerate(value):
                yield from unknown_fields(item, f"{prefix}{field.name}[{index}].")
        elif field.message_type.fields_by_name["value"].message_type is not None:
            for key, item in value.items():
                yield from unknown_fields(item, f"{prefix}{field.name}[{key!r:.42}].")


def gives(method: MethodDescriptor) -> bool:
    """Whether an rpc may give somebody something: each may, but those that only read or only take away.

    What takes away is not refused for an unknown field, so that whoever revokes something need not wait for an upgrade.
    """
    is_reading = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    return not is_reading and not method.name.startswith(_TAKES_AWAY)


def whole(servicer: _Servicer, service: ServiceDescriptor) -> _Servicer:
    """The servicer, which from now on refuses to give something by a request with a field that it does not know."""
    for method in service.methods:
        if gives(method):
            setattr(servicer, method.name, _whole(getattr(servicer, method.name)))
    return servicer


def _whole(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @wraps(answer)
    def judged(request: Message, context: Any) -> Any:
        with Fields() as fields:
            for path in unknown_fields(request):
                fields.refuse(
                    path,
                    "is the number of a field that this server does not know: it is of an older release than the "
                    "client, and would give more than was asked for if the field limits that; nothing was changed",
                )
        return answer(request, context)

    return judged
