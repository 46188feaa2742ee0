"""URIs of models and of files of runs.

    runs:/<run_id>/<path>        files of a run
    models:/<name>/<number>      a version
    models:/<name>/<stage>       the newest version in a stage, such as Production
    models:/<name>/latest        the newest version of all
    models:/<name>@<alias>       the version that an alias points at
    file:///<path>, <path>       a file or folder on this machine

Nothing in them is decoded, except in `file:` URIs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from modelry._sdk.files import paths
from modelry._sdk.nouns.enums import stage_name
from modelry._sdk.transport import unfinished
from modelry._sdk.values import urls
from modelry.errors import InvalidArgument, ModelryError

if TYPE_CHECKING:
    from modelry.api.registry import v1 as registry

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_NAME_BREAKERS = re.compile(r"[/:@\x00-\x1f\x7f]")
_LIKE_A_NUMBER = re.compile(r"[vV]?[-+]?[0-9][0-9.]*")
_FORMS = (
    "it is runs:/<run_id>/<path>, models:/<name>/<version, stage or latest>, models:/<name>@<alias>, "
    "or a path on this machine"
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

    model_name: str
    version_number: int = 0
    stage: str = ""
    alias: str = ""

    def __str__(self) -> str:
        if self.alias:
            return f"models:/{self.model_name}@{self.alias}"
        return f"models:/{self.model_name}/{self.version_number or self.stage or 'latest'}"


def parse(uri: str | os.PathLike[str]) -> RunUri | VersionUri | Path:
    """Reads a URI. A path or a `file:` URI becomes a Path.

    Raises InvalidArgument that says what is wrong and what would be right.
    """
    if isinstance(uri, os.PathLike):
        return Path(uri)
    if not isinstance(uri, str) or not uri or "\0" in uri:
        raise refused(uri, "is not a URI")
    scheme = _SCHEME.match(uri)
    kind = scheme[1].lower() if scheme else ""
    if kind == "runs":
        return _run_uri(uri)
    if kind == "models":
        return _version_uri(uri)
    if kind == "file":
        return _local(uri)
    if scheme and uri[scheme.end() :].startswith("/"):
        raise refused(uri, f"has the scheme {scheme[1]!r}, which this client does not support")
    return Path(uri)


def source_message(source: str) -> registry.VersionSource:
    """What a version is made from, as a message: `runs:/<run_id>/<path>` or `models:/<name>/<number>`.

    What this process still does for the run is done before. Raises InvalidArgument for another URI.
    """
    from modelry.api.registry import v1 as registry

    uri = parse(source)
    if isinstance(uri, RunUri):
        unfinished.before_reading(uri.run_id, uri.path)
        return registry.VersionSource(run=registry.RunFiles(run_id=uri.run_id, path=uri.path))
    if isinstance(uri, VersionUri) and uri.version_number:
        copied = registry.VersionCopy(model_name=uri.model_name, version_number=uri.version_number)
        return registry.VersionSource(version=copied)
    problem = "can't be the source of a version. Use runs:/<run_id>/<path> or models:/<name>/<number>"
    raise InvalidArgument(
        urls.masked(f"{source!r} {problem}"),
        reason="URI_INVALID",
        metadata={"uri": urls.masked(str(source))},
        fields={"source": problem},
    )


def source_text(message: registry.VersionSource) -> str:
    """What a version was made from, as a URI. Empty if the message has a kind of source that is unknown here."""
    kind = message.WhichOneof("source")
    if kind == "run":
        return str(RunUri(message.run.run_id, message.run.path))
    if kind == "version":
        return str(VersionUri(message.version.model_name, message.version.version_number))
    return ""


def refused(uri: object, problem: str) -> InvalidArgument:
    """The error for a URI that can't be used."""
    return InvalidArgument(
        urls.masked(f"URI {uri!r} {problem}; {_FORMS}"),
        reason="URI_INVALID",
        metadata={"uri": urls.masked(str(uri))},
        fields={"uri": problem},
    )


def _run_uri(uri: str) -> RunUri:
    run_id, _, path = _after(uri, "runs").partition("/")
    if not _RUN_ID.fullmatch(run_id):
        raise refused(uri, f"has {run_id!r} as its run id, which must be 32 lower-case hexadecimal characters")
    if not path:
        raise refused(uri, f"lacks a path; the files of a run are runs:/{run_id}/<path>")
    try:
        return RunUri(run_id, paths.checked(path.removesuffix("/")))
    except ModelryError as problem:
        raise refused(uri, f"has a path that is not valid: {problem}") from None


def _version_uri(uri: str) -> VersionUri:
    rest = _after(uri, "models")
    name, separator, alias = rest.rpartition("@")
    if separator and "/" not in rest:
        if _bad_name(name) or not alias or _NAME_BREAKERS.search(alias):
            raise refused(uri, "is not of the form models:/<name>@<alias>")
        return VersionUri(name, alias=alias)
    name, separator, which = rest.partition("/")
    if not separator or _bad_name(name) or _bad_name(which):
        raise refused(uri, "does not name a model and one of its versions")
    if which.isascii() and which.isdecimal() and 0 < int(which[:20]) < 2**63:
        return VersionUri(name, version_number=int(which[:20]))
    if _LIKE_A_NUMBER.fullmatch(which):
        raise refused(uri, f"has {which!r} as its version number, which must be a whole number from 1, such as 3")
    if which.lower() == "latest":
        return VersionUri(name)
    return VersionUri(name, stage=stage_name(which))


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not parts.path:
        raise refused(uri, "is not of the form file:///<path>")
    return Path(unquote(parts.path))


def _after(uri: str, scheme: str) -> str:
    rest = uri[len(scheme) + 1 :]
    if not rest.startswith("/") or rest.startswith("//"):
        raise refused(uri, f"must begin with {scheme}:/ and one slash")
    return rest[1:]


def _bad_name(name: str) -> bool:
    return not name or name != name.strip() or _NAME_BREAKERS.search(name) is not None
