"""The texts of API tokens: how they are made, and how their form is judged before anything is looked up.

`mdy_`, a letter for the kind, `_`, 30 random characters of base 62, and 6 that are the CRC-32 of all before them. The
random part has 178 bits, so a plain SHA-256 of the text is enough to store.
"""

import hashlib
import re
import secrets
import string
import zlib
from enum import StrEnum

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 30, 6
_FORM = re.compile(rf"mdy_[tb]_[0-9A-Za-z]{{{_RANDOM + _CHECK}}}", re.ASCII)
_LENGTH = len("mdy_t_") + _RANDOM + _CHECK
HINT = 4
"""How many characters at the end of a text a person recognises it by."""


class TextKind(StrEnum):
    """The letter that says what a text is for."""

    API_TOKEN = "t"
    BOOTSTRAP = "b"


def new_text(kind: TextKind) -> str:
    """A new text."""
    head = f"mdy_{kind}_" + "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return head + _checksum(head)


def kind_of(text: str) -> TextKind | None:
    """What a text is for, by its form alone; None if it has no such form, or its checksum is wrong."""
    if len(text) != _LENGTH or not _FORM.fullmatch(text) or _checksum(text[:-_CHECK]) != text[-_CHECK:]:
        return None
    return TextKind(text[4])


def digest_of(text: str) -> str:
    """What is stored of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(head: str) -> str:
    rest, digits = zlib.crc32(head.encode()), ""
    for _ in range(_CHECK):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
