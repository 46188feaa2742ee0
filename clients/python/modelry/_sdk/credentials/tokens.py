"""A token: its text, which nothing shows, and where it is from, which messages name."""

from __future__ import annotations

from dataclasses import dataclass, field

LONGEST = 8192
"""How many letters a token may have. Servers refuse longer ones."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a call is made with. `source` is how messages call where it is from."""

    text: str = field(repr=False)
    source: str
    remedy: str = ""
    """What to do if a server refuses it."""

    def __reduce__(self) -> tuple[object, ...]:
        """Refuses: a token goes into no pickle."""
        raise TypeError("a token can't be pickled or copied")


def problem_of(text: str) -> str:
    """Why a text can't be a token, without showing it. Empty if it can."""
    if not text:
        return "is empty"
    if len(text) > LONGEST:
        return f"has {len(text)} letters; a token has at most {LONGEST}"
    if text.lower().startswith("bearer "):
        return "begins with `Bearer`; give the token alone"
    if any(not "!" <= letter <= "~" for letter in text):
        return "has a space, a line break or a letter that is not ASCII, so it is no token or more than one"
    return ""
