"""Limits of single fields, in one place: what the contract's comments promise is judged here.

`Fields` collects every mistake of a request before it complains, so that the caller hears of all of them at once.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping

from modelry_server.kernel.errors import FieldInvalid

KEY_LENGTH = 250
PARAM_VALUE_LENGTH = 6000
TAG_VALUE_LENGTH = 8000
NAME_LENGTH = 500
DESCRIPTION_LENGTH = 100_000
NOTE_LENGTH = 5000
REQUEST_ID_LENGTH = 64
KEYS_PER_CALL = 1000
TAG_BYTES = 256 << 10
"""The most that all tags of a thing take as JSON: so it can always be sent, alone and in a list."""
LAST_TIME = 253_402_300_799_999
"""The last millisecond that a Timestamp can hold."""

_ID = re.compile(r"[0-9a-f]{32}\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17})\Z")
# And what ends lines, or turns the direction of what is shown after it.
_NUL = re.compile("\0")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200b\u200e\u200f\ufeff]")


def shown(value: object, limit: int = 100) -> str:
    """The value as a message shows it: quoted, with control characters escaped, cut after `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(str(value))} characters)"


def is_key(value: str) -> bool:
    """Whether it is a key of a param, tag or metric: 1 to 250 characters, no control characters."""
    return 0 < len(value) <= KEY_LENGTH and not _CONTROL.search(value)


class Fields:
    """The mistakes of one request. Use as a context manager: leaving the block raises FieldInvalid with all of them.

    `prefix` stands before the path of each field: `run.` if the fields are those of the message `run` of the request.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.violations: dict[str, str] = {}

    def __enter__(self) -> "Fields":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and self.violations:
            raise FieldInvalid(self.violations)

    def refuse(self, path: str, problem: str) -> None:
        """Notes a mistake; the first one of a field stands."""
        self.violations.setdefault(f"{self._prefix}{path}", problem)

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
        self.count(path, tags, required=required)
        for key, value in tags.items():
            if is_key(key) and len(value) <= longest and "\0" not in value:
                continue  # the usual case; to name a field costs more than to judge it
            self.key(f"{path}[{key[:40]!r}]", key)
            self.text(f"{path}[{key[:40]!r}]", value, longest=longest, controls=True)

    def tags_together(self, path: str, tags: Mapping[str, str]) -> None:
        """All tags that a thing has, or would have: at most 1000, and 256 KiB as JSON."""
        self.count(path, tags)
        size = len(json.dumps(dict(tags), separators=(",", ":"), ensure_ascii=False).encode())
        if size > TAG_BYTES:
            self.refuse(path, f"{size} bytes of tags as JSON, at most {TAG_BYTES} are allowed on one thing")

    def keys(self, path: str, keys: Collection[str]) -> None:
        """A list of 1 to 1000 keys."""
        self.count(path, keys, required=True)
        for index, key in enumerate(keys):
            self.key(f"{path}[{index}]", key)

    def count(self, path: str, items: Collection[object], *, required: bool = False, most: int = KEYS_PER_CALL) -> None:
        """A number of items: at most `most`, and at least one if `required`."""
        if len(items) > most:
            self.refuse(path, f"has {len(items)} entries, at most {most} are allowed in one call")
        elif required and not items:
            self.refuse(path, f"is required: 1 to {most} entries")

    def request_id(self, value: str) -> None:
        """A request id: at most 64 characters."""
        self.text("request_id", value, longest=REQUEST_ID_LENGTH)

    def mask(self, path: str, paths: Iterable[str], allowed: Collection[str]) -> None:
        """A field mask that names nothing but `allowed` fields."""
        unknown = [name for name in paths if name not in allowed]
        if unknown:
            self.refuse(
                path, f"{', '.join(map(repr, unknown))} can't be named here; allowed: {', '.join(sorted(allowed))}"
            )
