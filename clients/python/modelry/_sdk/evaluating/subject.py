"""The model that an evaluation is about, and the version that gets it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelry._sdk.nouns import uris
from modelry._sdk.scoring import predicting
from modelry.errors import InvalidArgument, ModelryError

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.options import Options
    from modelry._sdk.nouns.versions import Version

log = logging.getLogger("modelry")

_MOST_VERSIONS = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """The loaded model, what to call it, and the version that it is, if it is one."""

    model: Any
    text: str
    version: Version | None = None


def subject_of(options: Options) -> Subject:
    """Finds and loads the model. An alias, a stage and `latest` mean the version that they mean at this moment.

    Files of a run, also as a loaded pyfunc model or what `log_model` returned, mean the one version whose source they
    are, if there is one. Raises InvalidArgument for a `version` that is none, or not the one of the model; what reading
    the version raises.
    """
    model = getattr(options.model, "model_uri", options.model)
    version = None
    if options.version is not None:
        version = version_of(options.version, "version", options.client)
    if isinstance(model, str) and isinstance(uris.parse(model), uris.VersionUri):
        found = version_of(model, "model", options.client)
        if version is not None and version.version_id != found.version_id:
            raise InvalidArgument(
                f"version={options.version!r} is not the version of the model {model!r}; give one of them"
            )
        version = found
        model = uri_of(found)
    if version is None:
        version = _made_from(_source(model), options)
    text = "" if version is None else uri_of(version)
    if not text:
        text = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
    return Subject(predicting.loaded(model, options.client), str(text), version)


def uri_of(version: Version) -> str:
    """`models:/<name>/<number>`."""
    return f"models:/{version.model_name}/{version.version_number}"


def version_of(uri: str, what: str, client: Client | None) -> Version:
    """The version that a URI means. Raises InvalidArgument if it is not the URI of one; what reading it raises."""
    if not isinstance(uris.parse(uri), uris.VersionUri):
        raise InvalidArgument(f"{what}={uri!r} is not the URI of a version, such as models:/bikes/3")
    return registry_client(client).versions.resolve(uri)


def registry_client(given: Client | None) -> Client:
    """The client of the registry."""
    from modelry._sdk.fluent import session

    return given or session.current().registry_client()


def _source(model: Any) -> str:
    """`runs:/<run_id>/<path>` of the files that a model was loaded from, empty if it does not say."""
    if isinstance(model, str):
        parsed = uris.parse(model)
        return str(parsed) if isinstance(parsed, uris.RunUri) else ""
    metadata = getattr(model, "metadata", None)
    run_id, path = getattr(metadata, "run_id", None), getattr(metadata, "artifact_path", None)
    return f"runs:/{run_id}/{path}" if isinstance(run_id, str) and isinstance(path, str) and run_id and path else ""


def _made_from(source: str, options: Options) -> Version | None:
    """The version whose source this is, if there is exactly one. It stops nothing if the registry can't be asked."""
    if not source:
        return None
    try:
        run_id = source.removeprefix("runs:/").partition("/")[0]
        every = registry_client(options.client).versions.search(f"run_id = '{run_id}'", max_results=_MOST_VERSIONS)
        found = [version for version in every if version.source == source]
    except ModelryError as problem:
        log.warning(
            "evaluation %s: it is linked to no version, since the registry did not say whether %s is one: %s",
            *(options.name, source, problem),
        )
        return None
    if len(found) > 1:
        named = ", ".join(uri_of(version) for version in found[:5])
        log.warning(
            "evaluation %s: it is linked to no version, since %s is the source of %s; name one with version='%s'",
            *(options.name, source, named, uri_of(found[0])),
        )
    return found[0] if len(found) == 1 else None
