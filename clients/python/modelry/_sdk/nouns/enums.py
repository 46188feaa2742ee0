"""Enums of the contract as Python shows them, stages, and version numbers.

A value that this client does not know, because the server is newer, is shown as `UNKNOWN(<number>)`: never as a known
value, and never as an error.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from modelry._sdk.values.texts import shown, text_of
from modelry.errors import FieldInvalid, InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

STAGES = ("None", "Staging", "Production", "Archived")
"""The stages of the default policy. A model may have others."""

_UNKNOWN = re.compile(r"UNKNOWN\(-?\d+\)")


class OpenEnum(StrEnum):
    """An enum of texts to which a newer server may add values."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Makes a member for a value of the future, such as `UNKNOWN(9)`. Any other text is no value."""
        if not isinstance(value, str) or not _UNKNOWN.fullmatch(value):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return cls._value2member_map_.setdefault(value, member)  # type: ignore[return-value]


class RunStatus(OpenEnum):
    """The state of a run."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    LOST = "LOST"


class Lifecycle(OpenEnum):
    """Whether a thing is in use or deleted."""

    ACTIVE = "ACTIVE"
    DELETED = "DELETED"


class LifecycleFilter(StrEnum):
    """Which things a search finds."""

    ACTIVE = "ACTIVE"
    DELETED = "DELETED"
    ANY = "ANY"


def name_of(kind: _EnumTypeWrapper[Any], number: int) -> str:
    """The name of a value of a generated enum, without the prefix of the enum, such as `FINISHED`.

    `UNKNOWN(<number>)` for a value that is unknown here or that was not set.
    """
    if number == 0 or number not in kind.values():
        return f"UNKNOWN({number})"
    return kind.Name(number).removeprefix(kind.Name(0).removesuffix("UNSPECIFIED"))


def member_of(argument: str, given: object, kind: type[StrEnum]) -> str:
    """The name of an enum value that a caller gives, in any letter case. Raises InvalidArgument for another value."""
    name = given.upper() if isinstance(given, str) else ""
    if name in kind.__members__:
        return name
    raise InvalidArgument(
        f"{argument} {shown(given)} is not one of {', '.join(kind)}",
        fields={argument: f"is not one of {', '.join(kind)}"},
    )


def stage_name(stage: str) -> str:
    """The name of a stage. The default stages may be written in any letter case; other names are kept as they are.

    Raises FieldInvalid for something that is not a text.
    """
    if not isinstance(stage, str):
        problem = f"{shown(stage)} is not the name of a stage, such as 'Production'"
        raise FieldInvalid(f"stage: {problem}", metadata={"stage": text_of(stage)}, fields={"stage": problem})
    return next((name for name in STAGES if name.lower() == stage.lower()), stage)


def version_number(version: int | str) -> int:
    """The number of a version, given as a number or as its digits.

    Raises FieldInvalid for anything else.
    """
    if isinstance(version, int) and not isinstance(version, bool) and 0 < version < 2**63:
        return version
    if isinstance(version, str) and version.isascii() and version.isdecimal() and 0 < int(version[:20]) < 2**63:
        return int(version[:20])
    problem = f"{shown(version)} is not a version number; it is a whole number from 1, such as 3"
    raise FieldInvalid(f"version: {problem}", metadata={"version": text_of(version)}, fields={"version": problem})
