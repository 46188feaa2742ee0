"""Where a version comes from: the one place where a source is judged. Nothing ever opens a source as text."""

import re
from dataclasses import dataclass

from modelry_server.kernel.requests.fields import Fields, shown

LENGTH = 2000
"""More than the longest address that can name something: a name of 250 characters, a path of 1024 bytes."""

_RUN = re.compile(r"runs:/([0-9a-f]{32})/([^\x00-\x1f\x7f]+)\Z")
_VERSION = re.compile(r"models:/([^/:@\x00-\x1f\x7f]+)/([1-9][0-9]{0,17})\Z")
_RULE = "'runs:/<run id>/<path>' or 'models:/<name>/<version number>'"


@dataclass(frozen=True, slots=True)
class RunSource:
    """A path of a run."""

    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class VersionSource:
    """Another version."""

    model: str
    number: int


def parse(fields: Fields, source: str) -> RunSource | VersionSource | None:
    """What a source names; None if it is refused: every other scheme, an absolute path, one that climbs."""
    if len(source) > LENGTH:
        fields.text("source", source, longest=LENGTH)
        return None
    if match := _VERSION.match(source):
        return VersionSource(match[1], int(match[2]))
    match = _RUN.match(source)
    if match is None:
        fields.refuse("source", f"{shown(source)} is not a source: {_RULE}")
        return None
    if any(part in ("", ".", "..") for part in match[2].split("/")):
        fields.refuse("source", f"{shown(source)} is not a source: its path has an empty part, '.' or '..'")
        return None
    return RunSource(match[1], match[2])
