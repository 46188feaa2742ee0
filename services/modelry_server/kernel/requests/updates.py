"""Update masks: which fields of a thing a request changes, and to what."""

from collections.abc import Collection
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from modelry_server.kernel.requests.fields import Fields

EVERYTHING = "*"
"""The path for all fields that can be changed."""


def changes(given: Message, mask: FieldMask, changeable: Collection[str]) -> dict[str, Any]:
    """The fields that a request changes, by their paths, with their new values from `given`.

    These are the fields that the mask names, also if they are empty; the path of a message, such as `a`, stands for the
    fields in it, such as `a.b`. The mask `*` stands for all `changeable` fields, an empty mask for those that are set
    in `given`. An optional field that is not set is None. Raises FieldInvalid if the mask names any other field.
    """
    if mask.paths == [EVERYTHING]:
        named = list(changeable)
    else:
        groups = {path.partition(".")[0] for path in changeable}
        with Fields() as fields:
            named = fields.mask("update_mask", mask.paths, {*changeable, *groups})
        named = named or [path for path in changeable if _is_set(given, path)]
    return {path: _value(given, path) for path in changeable if path in named or path.partition(".")[0] in named}


def _is_set(given: Message, path: str) -> bool:
    name, _, rest = path.partition(".")
    if rest:
        return _is_set(getattr(given, name), rest)
    return any(field.name == name for field, _ in given.ListFields())


def _value(given: Message, path: str) -> Any:
    name, _, rest = path.partition(".")
    value = getattr(given, name)
    if rest:
        return _value(value, rest)
    is_optional = given.DESCRIPTOR.fields_by_name[name].has_presence and not isinstance(value, Message)
    return None if is_optional and not given.HasField(name) else value
