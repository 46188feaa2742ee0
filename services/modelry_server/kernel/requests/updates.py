"""Update masks: which fields of a thing a request changes, and to what."""

from collections.abc import Collection
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from modelry_server.kernel.requests.fields import Fields

EVERYTHING = "*"
"""The path for all fields that can be changed."""


def changes(given: Message, mask: FieldMask, changeable: Collection[str]) -> dict[str, Any]:
    """The fields that a request changes, with their new values from `given`.

    These are the fields that the mask names, also if they are empty. The mask `*` stands for all `changeable` fields,
    an empty mask for those that are set in `given`. Raises FieldInvalid if the mask names any other field.
    """
    if mask.paths == [EVERYTHING]:
        named = list(changeable)
    else:
        with Fields() as fields:
            named = fields.mask("update_mask", mask.paths, changeable)
        named = named or [field.name for field, _ in given.ListFields()]
    return {name: getattr(given, name) for name in changeable if name in named}
