"""The rules of artifact paths: those of `Artifact.path` in the contract.

Paths are checked before anything is sent. Paths that a server sends are checked by the same rules, so that a hostile
server can't name a file outside of the download folder. A name of a local file that can't be part of a path is
written with the code points of the characters that are in the way: `a_x0009_b` for a tab.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from modelry.errors import PathInvalid

LONGEST = 1024
"""The longest path, in bytes of UTF-8."""
LONGEST_PART = 255
"""The longest part of a path, in bytes of UTF-8: the longest name that file systems can hold."""
DEEPEST = 64
"""The most parts of a path."""

_DRIVE = re.compile(r"[A-Za-z]:")
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LOOKALIKES = frozenset("\u2024\u2025\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe52\ufe68\uff0e\uff0f\uff3c")


def checked(path: str) -> str:
    """The path itself, if it keeps the rules: relative, in normal form, parts separated by `/`, at most 1024 bytes.

    Raises PathInvalid, which names the path and the broken rule. The root, which is the empty path, is refused too.
    """
    broken = _broken_rule(path)
    if broken:
        rule, wanted = broken
        shown = ascii(path if len(path) <= 200 else path[:200] + "...")
        raise PathInvalid(
            f"invalid artifact path {shown}: {wanted}",
            metadata={"path": path.encode("utf-8", "backslashreplace").decode(), "rule": rule},
            fields={"path": wanted},
        )
    return path


def joined(folder: str, name: str) -> str:
    """A path below a folder; the empty folder is the root. Raises PathInvalid as `checked` does."""
    return checked(f"{folder}/{name}" if folder else name)


def meet(one: str, other: str) -> bool:
    """Whether one of two paths is the other, or above or below it. The empty path is the root."""
    first, second = f"{one}/".lstrip("/"), f"{other}/".lstrip("/")
    return first.startswith(second) or second.startswith(first)


def named(folder: str, name: str) -> str:
    """The path below a folder for a local file of any name: `joined`, with what can't be in a path written out.

    Raises PathInvalid if the path is too long or too deep.
    """
    kept = "".join(written_out(letter) if _is_refused(letter) else letter for letter in name)
    path = f"{folder}/{kept}" if folder else kept
    broken = _broken_rule(path)
    if broken and broken[0] == "absolute":
        path = path.replace(":", written_out(":"), 1)
    elif broken and broken[0] == "encoded":
        path = joined(folder, kept.replace("%", written_out("%")))
    return checked(path)


def written_out(letter: str) -> str:
    """A character as its code point, as Office writes it: `_x003A_` for a colon."""
    return f"_x{ord(letter):04X}_"


def _broken_rule(path: str) -> tuple[str, str] | None:
    """The name of the first rule that a path breaks, and what is wrong."""
    broken = _broken_as_it_is(path)
    while broken is None and "%" in path and (decoded := unquote(path)) != path:
        if _broken_as_it_is(decoded):
            return "encoded", "if it were decoded, as in a URL, it would not be a valid path; replace '%'"
        path = decoded
    return broken


def _broken_as_it_is(path: str) -> tuple[str, str] | None:
    if not path:
        return "empty", "it is empty; the root can't be used here"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "encoding", "it must be Unicode text"
    if size > LONGEST:
        return "length", f"it has {size} bytes, at most {LONGEST} are allowed"
    if any(map(_is_control, path)):
        return "control", "it must not contain control characters"
    if "\\" in path:
        return "backslash", "it must not contain a backslash; separate its parts by '/'"
    if path.startswith("/") or _DRIVE.match(path):
        return "absolute", "it must be relative, without a leading '/' or a drive letter"
    parts = path.split("/")
    if ".." in parts:
        return "dot-dot", "it must not contain the part '..'"
    if "" in parts or "." in parts:
        return "normal-form", "it must be in normal form: no empty part, no part '.', no '/' at the end"
    if len(parts) > DEEPEST:
        return "depth", f"it has {len(parts)} parts, at most {DEEPEST} are allowed"
    if (longest := max(len(part.encode()) for part in parts)) > LONGEST_PART:
        return "part-length", f"one of its parts has {longest} bytes, at most {LONGEST_PART} are allowed"
    if not _LOOKALIKES.isdisjoint(path):
        return "lookalike", "it must not contain a character that looks like a dot, slash or backslash"
    return None


def _is_control(letter: str) -> bool:
    if " " <= letter < "\x7f":
        return False
    return unicodedata.category(letter) in {"Cc", "Zl", "Zp"} or letter in _BIDIRECTIONAL


def _is_refused(letter: str) -> bool:
    """Whether no path may contain it. Bytes of a local name that are no text are lone surrogates."""
    return letter == "\\" or "\ud800" <= letter <= "\udfff" or letter in _LOOKALIKES or _is_control(letter)
