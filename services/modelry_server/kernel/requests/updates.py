"""Update masks: which fields of a thing a request changes, and to what."""

from collections.abc import Collection
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from modelry_server.kernel.requests.fields import Fields

EVERYTHING = "*"
"""The path that stands for all fields that can be changed."""


def changes(given: Message, mask: FieldMask, changeable: Collection[str]) -> dict[str, Any]:
    """The fields of `given` that a request changes, each with its new value as it stands in the message.

    Those that the mask names, also where they are empty; all of them if it is `*`; those that are set if it is empty.
    `changeable` are the fields that can be changed. Raises FieldInvalid for any other path.
    """
    paths = list(mask.paths)
    if paths == [EVERYTHING]:
        paths = list(changeable)
    with Fields() as fields:
        fields.mask("update_mask", paths, changeable)
    named = paths or [field.name for field, _ in given.ListFields()]
    return {name: getattr(given, name) for name in changeable if name in named}
