"""The rules of artifact paths: those of `Artifact.path` in the contract.

Paths are checked before anything is sent. Paths that a server sends are checked by the same rules, so that a hostile
server can't name a file outside of the download folder.
"""

from __future__ import annotations

import re
import unicodedata

from modelry.errors import PathInvalid

LONGEST = 1024
"""Bytes of UTF-8."""

_DRIVE = re.compile(r"[A-Za-z]:")
_ENCODED = re.compile(r"%(?:25)*(?:2e|2f|5c|7f|[01][0-9a-f])", re.IGNORECASE)
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


def _broken_rule(path: str) -> tuple[str, str] | None:
    """The name of the first rule that a path breaks, and what is wrong."""
    if not path:
        return "empty", "it is empty; the root can't be used here"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "encoding", "it must be Unicode text"
    if size > LONGEST:
        return "length", f"it has {size} bytes, at most {LONGEST} are allowed"
    if any(unicodedata.category(letter) in {"Cc", "Zl", "Zp"} or letter in _BIDIRECTIONAL for letter in path):
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
    if _ENCODED.search(path):
        return "encoded", "it must not contain an encoded dot, slash, backslash or control character, such as '%2f'"
    if not _LOOKALIKES.isdisjoint(path):
        return "lookalike", "it must not contain a character that looks like a dot, slash or backslash"
    return None
