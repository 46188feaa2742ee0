"""Which artifact paths there are: the rules of `Artifact.path` in the contract.

They are judged before anything is sent. A path that comes from a server is judged by the same rules, so that a hostile
one can't name a file outside of the folder into which it is downloaded.
"""

from __future__ import annotations

import re
import unicodedata

from assay.errors import PathInvalid

MAX_BYTES = 1024
_DRIVE = re.compile(r"[A-Za-z]:")


def checked(path: str) -> str:
    """The path itself where it is one: relative, in normal form, parts separated by `/`, at most 1024 bytes.

    Raises PathInvalid naming the path and the rule that it breaks. The root, which is the empty path, is refused too.
    """
    problem = _problem(path)
    if problem:
        shown = ascii(path if len(path) <= 200 else path[:200] + "...")
        raise PathInvalid(
            f"artifact path {shown} {problem}",
            metadata={"path": path.encode("utf-8", "backslashreplace").decode(), "rule": problem},
            fields={"path": problem},
        )
    return path


def joined(folder: str, name: str) -> str:
    """A path below a folder; the empty folder is the root. Raises PathInvalid as `checked` does."""
    return checked(f"{folder}/{name}" if folder else name)


def _problem(path: str) -> str:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode text"
    if not path:
        return "is empty"
    if size > MAX_BYTES:
        return f"is {size} bytes long; at most {MAX_BYTES} are allowed"
    if any(unicodedata.category(letter) == "Cc" for letter in path):
        return "holds a control character"
    if "\\" in path:
        return "holds a backslash; parts are separated by /"
    if path.startswith("/") or _DRIVE.match(path):
        return "is absolute; it must be relative"
    parts = path.split("/")
    if ".." in parts:
        return "climbs with '..'"
    if "" in parts or "." in parts:
        return "is not in normal form: no empty part, no '.' part, no '/' at the end"
    return ""
