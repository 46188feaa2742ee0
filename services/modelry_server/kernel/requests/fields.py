"""Limits of single fields, in one place: what the contract's comments promise is judged here.

`Fields` collects every mistake of a request before it complains, so that the caller hears of all of them at once.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

from modelry_server.kernel.errors import FieldInvalid, LimitReached

KEY_LENGTH = 250
PARAM_VALUE_LENGTH = 6000
TAG_VALUE_LENGTH = 8000
NAME_LENGTH = 500
DESCRIPTION_LENGTH = 100_000
NOTE_LENGTH = 5000
REQUEST_ID_LENGTH = 64
KEYS_PER_CALL = 1000
MOST_TAGS, TAG_BYTES = 1000, 256 << 10
"""The most tags of a thing, and the bytes that they take as JSON: so it can always be sent, alone and in a list."""
_LONGEST_AS_JSON = 6  # bytes of a character, such as \u0000; and what JSON puts around a key and its value
MASK_PATHS = 100
MOST_VIOLATIONS = 20
"""The most bad fields of a request that are described; the others are counted."""
LAST_TIME = 253_402_300_799_999
"""The last millisecond that a Timestamp can hold."""

_Item = TypeVar("_Item")
_ID = re.compile(r"[0-9a-f]{32}\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17})\Z")
# And what ends lines, or turns the direction of what is shown after it.
_NUL = re.compile("\0")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200b\u200e\u200f\ufeff]")


class Excess(NamedTuple):
    """More than a thing may hold in all: of what, how much there would be, and the most."""

    what: str
    total: int
    most: int


def require_room(path: str, excess: Excess | None) -> None:
    """Refuses to add to a thing, in the field `path`, what would exceed a total. Raises LimitReached."""
    if excess is not None:
        raise LimitReached(path, *excess)


def excess_of_tags(tags: Mapping[str, str]) -> Excess | None:
    """What all tags of a thing have too much: at most 1000, and 256 KiB as JSON, are allowed."""
    if len(tags) > MOST_TAGS:
        return Excess("tags", len(tags), MOST_TAGS)
    if _LONGEST_AS_JSON * (sum(map(len, tags)) + sum(map(len, tags.values())) + len(tags)) <= TAG_BYTES:
        return None  # the usual case
    size = len(json.dumps(dict(tags), separators=(",", ":"), ensure_ascii=False).encode())
    return Excess("bytes of tags as JSON", size, TAG_BYTES) if size > TAG_BYTES else None


def shown(value: object, limit: int = 100) -> str:
    """The value as a message shows it: quoted, with control characters escaped, cut after `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(str(value))} characters)"


def is_key(value: str) -> bool:
    """Whether it is a key of a param, tag or metric: 1 to 250 characters, no control characters."""
    return 0 < len(value) <= KEY_LENGTH and not _CONTROL.search(value)


def has_controls(value: str) -> bool:
    """Whether a text has a control character, or an invisible one that changes how it looks."""
    return _CONTROL.search(value) is not None


class Fields:
    """The mistakes of one request. Use as a context manager: leaving the block raises FieldInvalid with them.

    The first 20 bad fields are described, and the others are counted. A list that is too long is one mistake: its
    items are not judged.

    `prefix` stands before the path of each field: `run.` if the fields are those of the message `run` of the request.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.violations: dict[str, str] = {}
        self._more: set[str] = set()

    def __enter__(self) -> "Fields":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and self.violations:
            raise FieldInvalid(self.violations, more=len(self._more))

    def refuse(self, path: str, problem: str) -> None:
        """Notes a mistake; the first one of a field stands."""
        path = f"{self._prefix}{path}"
        if path in self.violations:
            return
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations[path] = problem
        else:
            self._more.add(path)

    def text(self, path: str, value: str, *, longest: int, shortest: int = 0, controls: bool = False) -> None:
        """A text of `shortest` to `longest` characters; without control characters unless `controls`. Never NUL."""
        if len(value) < shortest:
            self.refuse(
                path, f"is required: 1 to {longest} characters" if shortest == 1 else f"needs {shortest} characters"
            )
        elif len(value) > longest:
            self.refuse(
                path, f"has {len(value)} characters, at most {longest} are allowed; it begins {shown(value, 40)}"
            )
        elif bad := (_NUL if controls else _CONTROL).search(value):
            self.refuse(path, f"{shown(value)} contains the control character U+{ord(bad.group()):04X}")

    def name(self, path: str, value: str, *, longest: int = NAME_LENGTH) -> None:
        """A name: not empty, no control characters, no white space at either end."""
        self.text(path, value, longest=longest, shortest=1)
        if value != value.strip():
            self.refuse(path, f"{shown(value)} begins or ends with white space")

    def key(self, path: str, value: str) -> None:
        """A key of a param, tag or metric: 1 to 250 characters, no control characters."""
        self.text(path, value, longest=KEY_LENGTH, shortest=1)

    def id(self, path: str, value: str) -> None:
        """An id: 32 lower-case hexadecimal characters."""
        if not _ID.match(value):
            self.refuse(path, f"{shown(value)} is not an id: 32 lower-case hexadecimal characters")

    def number_id(self, path: str, value: str) -> None:
        """An id that is a number as text, such as that of an experiment."""
        if not _NUMBER.match(value):
            self.refuse(path, f"{shown(value)} is not an id: a whole number such as '7'")

    def time(self, path: str, value: int | None) -> None:
        """A time in milliseconds since the epoch, where there is one: in the years 1970 to 9999."""
        if value is not None and not 0 <= value <= LAST_TIME:
            self.refuse(path, f"{value} ms since 1970 is not in the years 1970 to 9999")

    def tags(
        self, path: str, tags: Mapping[str, str], *, longest: int = TAG_VALUE_LENGTH, required: bool = False
    ) -> None:
        """A map of keys to values: at most 1000, each key and value within its limit."""
        if not self.count(path, tags, required=required):
            return
        for key, value in tags.items():
            if is_key(key) and len(value) <= longest and "\0" not in value:
                continue  # the usual case; to name a field costs more than to judge it
            self.key(f"{path}[{key[:40]!r}]", key)
            self.text(f"{path}[{key[:40]!r}]", value, longest=longest, controls=True)

    def within(self, path: str, excess: Excess | None) -> None:
        """What a new thing would hold in all."""
        if excess is not None:
            self.refuse(path, f"has {excess.total} {excess.what} in all, at most {excess.most} are allowed")

    def first_tags(self, tags: Mapping[str, str]) -> None:
        """The tags of a new thing, in the field `tags`: each within its limits, and all together."""
        self.tags("tags", tags)
        self.within("tags", excess_of_tags(tags))

    def keys(self, path: str, keys: Sequence[str]) -> list[str]:
        """A list of 1 to 1000 keys. Returns each key once."""
        return self.each(path, keys, self.key, required=True)

    def each(
        self,
        path: str,
        items: Sequence[_Item],
        judge: Callable[[str, _Item], None],
        *,
        required: bool = False,
        most: int = KEYS_PER_CALL,
    ) -> list[_Item]:
        """A list of at most `most` items, each of which `judge` accepts. Returns each item once, in their order."""
        if not self.count(path, items, required=required, most=most):
            return []
        for index, item in enumerate(items):
            judge(f"{path}[{index}]", item)
        return list(dict.fromkeys(items))

    def count(self, path: str, items: Collection[object], *, required: bool = False, most: int = KEYS_PER_CALL) -> bool:
        """A number of items: at most `most`, and at least one if `required`. Returns whether to judge the items."""
        if len(items) > most:
            self.refuse(path, f"has {len(items)} entries, at most {most} are allowed in one call")
            return False
        if required and not items:
            self.refuse(path, f"is required: 1 to {most} entries")
        return True

    def request_id(self, value: str) -> None:
        """A request id: at most 64 characters."""
        self.text("request_id", value, longest=REQUEST_ID_LENGTH)

    def mask(self, path: str, paths: Sequence[str], allowed: Collection[str]) -> list[str]:
        """A field mask of at most 100 paths that name nothing but `allowed` fields. Returns each path once."""
        if not self.count(path, paths, most=MASK_PATHS):
            return []
        named = list(dict.fromkeys(paths))
        if unknown := [shown(name) for name in named if name not in allowed]:
            self.refuse(path, f"{', '.join(unknown)} can't be named here; allowed: {', '.join(sorted(allowed))}")
        return named
