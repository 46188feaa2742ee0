"""How much a message holds, judged by its bytes before it is parsed.

protobuf holds Python's lock while it parses. 4 MiB of empty items take it 0.1 s, and no other call goes on meanwhile.
Python code gives the lock away, and stops counting at the limit.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from modelry_server.kernel.errors import FieldInvalid

MOST_FIELDS = 20_000
"""The most fields of a message, with those of the messages in it. Requests within all limits have at most 16,200.

Counting is slow, and a client needs little for it: with gzip, 3 MB of small fields are 3 kB.
"""
MOST_OF_RUN = 200_000
"""The most fields of an update of a run. One that is filled to all limits has 162,000, and may be sent as it is."""
MOST_NUMBERS = 400_000
"""The most whole numbers in the lists of a message. The points of a batch have 200,000."""

_UPDATE_OF_RUN = "modelry.api.tracking.v1.UpdateRunRequest"
_VARINT, _DELIMITED = 0, 2
_FIRST_TAG = 1 << 3
_FIXED = {1: 8, 5: 4}
"""Wire types, the lowest tag, and the bytes of those types that have as many each time."""
_NUMBER = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")
_UNFINISHED = bytes(range(0x80, 0x100))
"""The bytes of a number that are followed by more of it."""
_NOT_WHOLE = {
    *(FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES),
    *(FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64),
    *(FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32),
}
"""What costs nothing to parse in a list, or has a tag for each item."""


class Counted(NamedTuple):
    """How many fields and whole numbers of lists a message has."""

    fields: int
    numbers: int


class _Layout(NamedTuple):
    """The fields of a message that hold others, by their tags: messages, and lists of whole numbers."""

    messages: dict[int, Descriptor]
    lists: frozenset[int]


def judge(message: Descriptor, content: bytes) -> None:
    """Raises FieldInvalid if a message of this type holds too much to be parsed.

    Raises DecodeError if it can't be followed. That isn't left to the parser: a group, which no message of the contract
    has, it would skip and go on.
    """
    most_fields = MOST_OF_RUN if message.full_name == _UPDATE_OF_RUN else MOST_FIELDS
    if len(content) <= min(2 * most_fields, MOST_NUMBERS):  # a field has at least a tag, and a value or length
        return
    found = count(message, content, most_fields, MOST_NUMBERS)
    for what, number, most in (("fields", found.fields, most_fields), ("numbers", found.numbers, MOST_NUMBERS)):
        if number > most:
            problem = (
                f"has more than {most} {what}, with all that is in its lists and maps; send several smaller requests"
            )
            raise FieldInvalid({"message": problem})


def count(message: Descriptor, content: bytes, most_fields: int, most_numbers: int) -> Counted:
    """What a message of this type has. It ends once there is more than the most of one of them.

    Everything with a tag is a field: each item of a list of texts or messages, and of a map each entry, its key and its
    value. The numbers of a list have no tags. Raises DecodeError if the message can't be followed.
    """
    try:
        return _count(message, content, most_fields, most_numbers)
    except IndexError:  # in the middle of a tag or length
        raise DecodeError("the message is cut off") from None


def _count(message: Descriptor, content: bytes, most_fields: int, most_numbers: int) -> Counted:
    fields = numbers = at = 0
    end = len(content)
    messages, lists = _layout(message)
    around: list[tuple[int, Descriptor]] = []  # the end and the type of each message around this one
    while True:
        while at >= end:
            if at > end:
                raise DecodeError("a field ends after the message that it is in")
            if not around:
                return Counted(fields, numbers)
            end, message = around.pop()
            messages, lists = _layout(message)
        fields += 1
        if fields > most_fields:
            return Counted(fields, numbers)
        tag = content[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(content, at, tag)
        if tag < _FIRST_TAG:
            raise DecodeError("a field has the number 0")
        kind = tag & 7
        if kind == _DELIMITED:
            length = content[at]
            at += 1
            if length >= 0x80:
                length, at = _varint(content, at, length)
            if length and tag in messages:
                if at + length > end:
                    raise DecodeError("a message ends after the one that it is in")
                around.append((end, message))
                end, message = at + length, messages[tag]
                messages, lists = _layout(message)
                continue
            if tag in lists:
                numbers += len(content[at : at + length].translate(None, _UNFINISHED))
                if numbers > most_numbers:
                    return Counted(fields, numbers)
            at += length
        elif kind == _VARINT:
            found = _NUMBER.match(content, at)
            if not found:
                raise DecodeError("a number is cut off, or has more than 10 bytes")
            at = found.end()
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise DecodeError(f"a field has wire type {kind}")


def _varint(content: bytes, at: int, low: int) -> tuple[int, int]:
    """The tag or length whose first byte is `low` and whose second is there, and where it ends."""
    number = low & 0x7F
    for shift in (7, 14, 21, 28):
        byte = content[at]
        at += 1
        if byte < 0x80:
            return number | byte << shift, at
        number |= (byte & 0x7F) << shift
    raise DecodeError("a tag or length has more than 5 bytes")


@lru_cache(1000)
def _layout(message: Descriptor) -> _Layout:
    messages, lists = {}, set()
    for field in message.fields:
        tag = field.number << 3 | _DELIMITED
        if field.message_type:
            messages[tag] = field.message_type
        elif field.is_repeated and field.type not in _NOT_WHOLE:
            lists.add(tag)
    return _Layout(messages, frozenset(lists))
