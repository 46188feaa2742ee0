"""What no request may contain, whatever it is for: lists that are far too long, and texts that no database can hold.

PostgreSQL refuses a text with the character U+0000, even one that is only compared. SQLite doesn't. So such a text is
refused when a request arrives, whatever it is for and whichever database is used; nothing behind has to look for it.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from modelry_server.kernel.requests.fields import Fields, shown

MOST_ITEMS = 10_000
"""The most items that a list or map of texts or messages may have, where the contract doesn't set a lower bound.

It is far above what any list of the contract may hold, and keeps a request of 4 MiB from costing seconds.
"""


def judge(message: Any, content: bytes) -> None:
    """Raises FieldInvalid with the path of each list that is too long, or else of each text that contains U+0000.

    `content` is the message as it arrived: a short one can't hold a long list, and one without a zero byte no U+0000.
    """
    if len(content) > 2 * MOST_ITEMS:  # an item has at least a tag and a length
        with Fields() as fields:
            for path, count in _long_lists(message, ""):
                fields.refuse(path, f"has {count} entries, at most {MOST_ITEMS} are allowed in one list")
    if b"\0" in content and _has_bad_text(message):  # most zero bytes are those of numbers
        with Fields() as fields:
            for path, text in _bad_texts(message, ""):
                fields.refuse(path, f"{shown(text)} contains the control character U+0000")


def _has_bad_text(message: Any) -> bool:
    """Whether a text in the message contains U+0000. It only says so, in a third of the time of `_bad_texts`."""
    for name, is_bad in _tests(message.DESCRIPTOR):
        if is_bad is None:
            if message.HasField(name) and _has_bad_text(getattr(message, name)):
                return True
        elif is_bad(getattr(message, name)):
            return True
    return False


@lru_cache(1000)
def _tests(message: Descriptor) -> tuple[tuple[str, Callable[[Any], bool] | None], ...]:
    """How to test each field that may hold texts; None for one that is a message."""
    return tuple((field.name, _test(field)) for field in _fields_with_texts(message))


def _test(field: FieldDescriptor) -> Callable[[Any], bool] | None:
    if field.message_type is None:
        return _is_any_bad if field.is_repeated else _is_bad
    if not field.is_repeated:
        return None
    if not field.message_type.GetOptions().map_entry:
        return lambda items: any(map(_has_bad_text, items))
    if field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING:
        return lambda entries: bool(entries) and (_is_any_bad(entries) or _is_any_bad(entries.values()))
    return lambda entries: any(_bad_items(entries.items(), ""))


def _is_bad(text: str) -> bool:
    return "\0" in text


def _is_any_bad(texts: Iterable[str]) -> bool:
    return any("\0" in text for text in texts)


def _long_lists(message: Any, prefix: str) -> Iterator[tuple[str, int]]:
    """The lists and maps that are too long, with their lengths. Lists of numbers don't count: nothing walks them."""
    for field in _fields_with_texts(message.DESCRIPTOR):
        if field.is_repeated:
            items = getattr(message, field.name)
            if len(items) > MOST_ITEMS:
                yield prefix + field.name, len(items)
            elif _holds_lists(field):
                for index, item in enumerate(items):
                    yield from _long_lists(item, f"{prefix}{field.name}[{index}].")
        elif field.message_type and message.HasField(field.name):
            yield from _long_lists(getattr(message, field.name), f"{prefix}{field.name}.")


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
def _holds_lists(field: FieldDescriptor) -> bool:
    """Whether each item of a list can hold lists of texts or messages."""
    inner = field.message_type
    if inner is None or inner.GetOptions().map_entry:
        return False
    return any(each.is_repeated or _holds_lists(each) for each in _fields_with_texts(inner))


@lru_cache(1000)
def _fields_with_texts(message: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields of a type of message that are texts, or hold messages that may have some."""
    return tuple(field for field in message.fields if _holds_texts(field, frozenset()))


def _holds_texts(field: FieldDescriptor, above: frozenset[Descriptor]) -> bool:
    inner = field.message_type
    if inner is None:
        return bool(field.type == FieldDescriptor.TYPE_STRING)
    return inner not in above and any(_holds_texts(each, above | {inner}) for each in inner.fields)
