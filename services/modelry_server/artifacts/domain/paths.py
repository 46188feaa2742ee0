"""The rules of artifact paths, in one place.

Paths are compared byte by byte, and nothing in them is decoded: code that takes paths from URLs decodes them before.
A path that would break a rule if it were decoded again, however often, is refused, and so is one that would become
another one if its characters were normalized to ASCII. A part is a name that every file system can hold by its length.
"""

import re
import unicodedata
from dataclasses import InitVar, dataclass
from urllib.parse import unquote

from modelry_server.artifacts.errors import PathInvalid

LONGEST = 1024
"""The longest path, in bytes of UTF-8."""
LONGEST_PART = 255
"""The longest part of a path, in bytes of UTF-8: the longest name that file systems can hold."""
DEEPEST = 64
"""The most parts of a path. Each folder is a row of its own."""

_DRIVE = re.compile(r"[A-Za-z]:")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LOOKALIKES = frozenset("\u2024\u2025\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe52\ufe68\uff0e\uff0f\uff3c")


@dataclass(frozen=True, slots=True, order=True)
class ArtifactPath:
    """A path that keeps the rules: relative, in normal form, and never the root.

    Raises PathInvalid, which names the broken rule; `field` is the field of the request that holds the path.
    """

    text: str
    field: InitVar[str] = "path"

    def __post_init__(self, field: str) -> None:
        broken = _broken_rule(self.text)
        if broken:
            raise PathInvalid(field, self.text, *broken)

    def __str__(self) -> str:
        return self.text


def folder(text: str, field: str = "path") -> ArtifactPath | None:
    """A path, or None for the root, which is the empty text. Raises PathInvalid."""
    return ArtifactPath(text, field) if text else None


def parent(path: str) -> str:
    """The path of the folder that holds a file or folder: the empty text, which is the root, also for the root."""
    return path.rpartition("/")[0]


def ancestors(path: str) -> list[str]:
    """The paths of the folders that hold a path, from the root, which is the empty text, downwards."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]


def _broken_rule(text: str) -> tuple[str, str] | None:
    """The name of the first rule that a text breaks, and what is wrong."""
    broken = _broken_as_it_is(text)
    while broken is None and "%" in text and (decoded := unquote(text)) != text:
        if _broken_as_it_is(decoded):
            return "encoded", "if it were decoded, as in a URL, it would not be a valid path; replace '%'"
        text = decoded
    return broken


def _broken_as_it_is(text: str) -> tuple[str, str] | None:
    if not text:
        return "empty", "it is empty; the root can't be used here"
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        return "encoding", "it must be UTF-8"
    if length > LONGEST:
        return "length", f"it has {length} bytes, at most {LONGEST} are allowed"
    if any(map(_is_control, text)):
        return "control", "it must not contain control characters"
    if "\\" in text:
        return "backslash", "it must not contain a backslash; separate its parts by '/'"
    if text.startswith("/") or _DRIVE.match(text):
        return "absolute", "it must be relative, without a leading '/' or a drive letter"
    parts = text.split("/")
    if ".." in parts:
        return "dot-dot", "it must not contain the part '..'"
    if "" in parts or "." in parts:
        return "normal-form", "it must be in normal form: no empty part, no part '.', no '/' at the end"
    if len(parts) > DEEPEST:
        return "depth", f"it has {len(parts)} parts, at most {DEEPEST} are allowed"
    if (longest := max(len(part.encode()) for part in parts)) > LONGEST_PART:
        return "part-length", f"one of its parts has {longest} bytes, at most {LONGEST_PART} are allowed"
    if not _LOOKALIKES.isdisjoint(text):
        return "lookalike", "it must not contain a character that looks like a dot, slash or backslash"
    return None


def _is_control(character: str) -> bool:
    if " " <= character < "\x7f":
        return False
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _BIDIRECTIONAL
