"""Answers that no Modelry server gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from modelry.errors import DataLoss

if TYPE_CHECKING:
    from google.protobuf.message import Message

_Answer = TypeVar("_Answer", bound="Message")


def malformed(what: str) -> DataLoss:
    """The error for an answer that no Modelry server gives. `what` follows "the server sent"."""
    return DataLoss(f"the server sent {what}", reason="ANSWER_MALFORMED")


def parsed(message: type[_Answer], content: bytes) -> _Answer:
    """The answer of this type in the content. Raises DataLoss if it can't be parsed."""
    from google.protobuf.message import DecodeError  # not before it is known that nothing is in its way

    try:
        return message.FromString(content)
    except DecodeError:
        raise malformed(f"{len(content)} bytes that are no {message.DESCRIPTOR.name}") from None
