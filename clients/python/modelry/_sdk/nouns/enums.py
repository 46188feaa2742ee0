"""Stages and version numbers, as people write them."""

from __future__ import annotations

from modelry.errors import FieldInvalid

STAGES = ("None", "Staging", "Production", "Archived")
"""The stages, in the order in which a version passes them. Their place, from 1, is their number in the contract."""


def number_of_stage(stage: str) -> int:
    """The contract's number of a stage, which may be written in any letter case.

    Raises FieldInvalid for a stage that does not exist.
    """
    for number, name in enumerate(STAGES, 1):
        if isinstance(stage, str) and stage.lower() == name.lower():
            return number
    problem = f"{stage!r} is not a stage; the stages are {', '.join(STAGES)}"
    raise FieldInvalid(f"stage: {problem}", metadata={"stage": str(stage)}, fields={"stage": problem})


def name_of_stage(number: int) -> str:
    """The name of a stage by its number in the contract; `None` for a number that this client does not know."""
    return STAGES[number - 1] if 0 < number <= len(STAGES) else STAGES[0]


def version_number(version: int | str) -> int:
    """The number of a version, given as a number or as its digits.

    Raises FieldInvalid for anything else.
    """
    if isinstance(version, int) and not isinstance(version, bool) and 0 < version < 2**63:
        return version
    if isinstance(version, str) and version.isascii() and version.isdecimal() and 0 < int(version[:20]) < 2**63:
        return int(version[:20])
    problem = f"{version!r} is not a version number; it is a whole number from 1, such as 3"
    raise FieldInvalid(f"version: {problem}", metadata={"version": str(version)}, fields={"version": problem})
