"""Other words for attributes than the names of their fields."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class Words:
    """What callers may write instead of the names of attributes: `names[word]` is the field that a word means.

    Each is equal to itself only, so it can be a key of what was read with it.
    """

    names: Mapping[str, str]


NO_WORDS = Words({})
