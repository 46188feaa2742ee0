"""Other words for attributes than the names of their fields, and how keys look."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False, slots=True)
class Words:
    """What callers may write instead of the names of attributes: `names[word]` is the field that a word means.

    `keys[scope]` is how the keys of a scope look, for messages: `<key>` if it is not there. Each is equal to itself
    only, so it can be a key of what was read with it.
    """

    names: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)


NO_WORDS = Words({})
