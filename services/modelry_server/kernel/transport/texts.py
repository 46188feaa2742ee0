"""Texts of requests that no database can hold.

PostgreSQL refuses a text with the character U+0000, even one that is only compared. SQLite doesn't. So such a text is
refused when a request arrives, whatever it is for and whichever database is used; nothing behind has to look for it.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from modelry_server.kernel.requests.fields import shown


def violations(message: Any, content: bytes) -> dict[str, str]:
    """What is wrong with each text of a message that contains U+0000, by its path, such as `tags['owner']`.

    `content` is the message as it arrived: without a zero byte there is nothing to look for.
    """
    if b"\0" not in content:
        return {}
    return {path: f"{shown(text)} contains the control character U+0000" for path, text in _bad_texts(message, "")}


def _bad_texts(message: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for field in _fields_with_texts(message.DESCRIPTOR):
        value = getattr(message, field.name)
        if isinstance(value, str):
            if "\0" in value:
                yield prefix + field.name, value
        elif isinstance(value, Message):
            if message.HasField(field.name):
                yield from _bad_texts(value, f"{prefix}{field.name}.")
        else:
            is_map = field.message_type and field.message_type.GetOptions().map_entry
            items = value.items() if is_map else enumerate(value)
            yield from _bad_items(items, prefix + field.name)


def _bad_items(items: Iterable[tuple[Any, Any]], path: str) -> Iterator[tuple[str, str]]:
    """The bad texts in the items of a list, by their index, or of a map, by their key."""
    for key, item in items:
        if isinstance(key, str) and "\0" in key:
            yield f"{path}[{key[:40]!r}]", key
        elif isinstance(item, Message):
            yield from _bad_texts(item, f"{path}[{key!r:.42}].")
        elif isinstance(item, str) and "\0" in item:
            yield f"{path}[{key!r:.42}]", item


@lru_cache(1000)
def _fields_with_texts(message: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields of a type of message that are texts, or hold messages that may have some."""
    return tuple(field for field in message.fields if _holds_texts(field, frozenset()))


def _holds_texts(field: FieldDescriptor, above: frozenset[Descriptor]) -> bool:
    inner = field.message_type
    if inner is None:
        return bool(field.type == FieldDescriptor.TYPE_STRING)
    return inner not in above and any(_holds_texts(each, above | {inner}) for each in inner.fields)
