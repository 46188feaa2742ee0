"""URIs of models and of files of runs.

    runs:/<run_id>/<path>        files of a run
    models:/<name>/<number>      a version
    models:/<name>/<stage>       the newest version in None, Staging, Production or Archived, in any letter case
    models:/<name>/latest        the newest version of all
    models:/<name>@<alias>       the version that an alias points at
    file:///<path>, <path>       a file or folder of this machine

They are read to the letter: nothing in them is decoded.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from modelry._sdk.files import paths
from modelry._sdk.nouns.enums import STAGES
from modelry.errors import InvalidArgument, ModelryError, VersionNotFound

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.nouns.versions import Version

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_NAME_BREAKERS = re.compile(r"[/:@\x00-\x1f\x7f]")
_FORMS = (
    "it is runs:/<run_id>/<path>, models:/<name>/<version, stage or latest>, models:/<name>@<alias>, "
    "or a path of this machine"
)


@dataclass(frozen=True, slots=True)
class RunUri:
    """Files of a run."""

    run_id: str
    path: str

    def __str__(self) -> str:
        return f"runs:/{self.run_id}/{self.path}"


@dataclass(frozen=True, slots=True)
class VersionUri:
    """A version of a registered model, by exactly one of its number, a stage, an alias, or as the latest."""

    name: str
    number: int = 0
    stage: str = ""
    alias: str = ""

    def __str__(self) -> str:
        if self.alias:
            return f"models:/{self.name}@{self.alias}"
        return f"models:/{self.name}/{self.number or self.stage or 'latest'}"


@dataclass(frozen=True, slots=True)
class Location:
    """Where files lie: an owner of artifacts, and a path of it; the empty path is all of its files."""

    owner: str
    path: str


def parse(uri: str | os.PathLike[str]) -> RunUri | VersionUri | Path:
    """Reads a URI. A path, or a `file:` URI, of this machine becomes a Path.

    Raises InvalidArgument that says what is wrong and what would be right.
    """
    if isinstance(uri, os.PathLike):
        return Path(uri)
    if not isinstance(uri, str) or not uri or "\0" in uri:
        raise _unreadable(uri, "is no URI")
    scheme = _SCHEME.match(uri)
    kind = scheme[1].lower() if scheme else ""
    if kind == "runs":
        return _run_uri(uri)
    if kind == "models":
        return _version_uri(uri)
    if kind == "file":
        return _local(uri)
    if scheme and uri[scheme.end() :].startswith("/"):
        raise _unreadable(uri, f"has the scheme {scheme[1]!r}, which this client does not read")
    return Path(uri)


def version(uri: VersionUri, client: Client) -> Version:
    """Asks the registry for the version that a URI means at this moment.

    Raises ModelNotFound, AliasNotFound or VersionNotFound.
    """
    if uri.alias:
        return client.aliases.get(uri.name, uri.alias)
    if uri.number:
        return client.versions.get(uri.name, uri.number)
    newest = client.versions.latest(uri.name, [uri.stage] if uri.stage else ())
    if not newest:
        where = f"in stage {uri.stage}" if uri.stage else "at all"
        metadata = {"model": uri.name} | ({"stage": uri.stage} if uri.stage else {})
        raise VersionNotFound(f"model {uri.name!r} has no version {where}", metadata=metadata)
    return max(newest, key=lambda candidate: candidate.number)


def locate(uri: RunUri | VersionUri, client: Client) -> Location:
    """Where the files are that a URI means at this moment. Raises as `version` does."""
    if isinstance(uri, RunUri):
        return Location(f"runs/{uri.run_id}", uri.path)
    return Location(version(uri, client).owner, "")


def _run_uri(uri: str) -> RunUri:
    run_id, _, path = _after(uri, "runs").partition("/")
    if not _RUN_ID.fullmatch(run_id):
        raise _unreadable(uri, f"has {run_id!r} where a run id is, which is 32 lower-case hexadecimal characters")
    if not path:
        raise _unreadable(uri, f"lacks a path; the files of a run are runs:/{run_id}/<path>")
    try:
        return RunUri(run_id, paths.checked(path.removesuffix("/")))
    except ModelryError as problem:
        raise _unreadable(uri, f"has no path of an artifact: {problem}") from None


def _version_uri(uri: str) -> VersionUri:
    rest = _after(uri, "models")
    name, separator, alias = rest.rpartition("@")
    if separator and "/" not in rest:
        if _bad_name(name) or not alias or _NAME_BREAKERS.search(alias):
            raise _unreadable(uri, "is not of the form models:/<name>@<alias>")
        return VersionUri(name, alias=alias)
    name, separator, which = rest.partition("/")
    if not separator or _bad_name(name) or not which or "/" in which:
        raise _unreadable(uri, "does not name a model and one of its versions")
    if which.isascii() and which.isdecimal() and 0 < int(which[:20]) < 2**63:
        return VersionUri(name, number=int(which[:20]))
    if which.lower() == "latest":
        return VersionUri(name)
    for stage in STAGES:
        if which.lower() == stage.lower():
            return VersionUri(name, stage=stage)
    raise _unreadable(
        uri, f"has {which!r} where a version number from 1, latest, or a stage ({', '.join(STAGES)}) belongs"
    )


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not parts.path:
        raise _unreadable(uri, "is not of the form file:///<path>")
    return Path(unquote(parts.path))


def _after(uri: str, scheme: str) -> str:
    rest = uri[len(scheme) + 1 :]
    if not rest.startswith("/") or rest.startswith("//"):
        raise _unreadable(uri, f"must begin with {scheme}:/ and one slash")
    return rest[1:]


def _bad_name(name: str) -> bool:
    return not name or name != name.strip() or _NAME_BREAKERS.search(name) is not None


def _unreadable(uri: object, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"URI {uri!r} {problem}; {_FORMS}",
        reason="URI_INVALID",
        metadata={"uri": str(uri)},
        fields={"uri": problem},
    )
