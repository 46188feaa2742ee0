"""The model that an evaluation is about, and the version that gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelry._sdk.evaluating import predicting
from modelry._sdk.nouns import uris
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.options import Options
    from modelry._sdk.nouns.versions import Version


@dataclass(frozen=True, slots=True)
class Subject:
    """The loaded model, what to call it, and the version that it is, if it is one."""

    model: Any
    text: str
    version: Version | None = None


def subject_of(options: Options) -> Subject:
    """Finds and loads the model. An alias, a stage and `latest` mean the version that they mean at this moment.

    Raises InvalidArgument for a `version` that is none, or not the one of the model; what reading the version raises.
    """
    model = options.model
    version = None
    if options.version is not None:
        version = _version(options.version, "version", options.client)
    if isinstance(model, str) and isinstance(uris.parse(model), uris.VersionUri):
        found = _version(model, "model", options.client)
        if version is not None and version.version_id != found.version_id:
            raise InvalidArgument(
                f"version={options.version!r} is not the version of the model {model!r}; give one of them"
            )
        version = found
        model = uri_of(found)
    text = "" if version is None else uri_of(version)
    if not text:
        text = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
    return Subject(predicting.loaded(model, options.client), str(text), version)


def uri_of(version: Version) -> str:
    """`models:/<name>/<number>`."""
    return f"models:/{version.model_name}/{version.version_number}"


def registry_client(given: Client | None) -> Client:
    """The client of the registry."""
    from modelry._sdk.fluent import session

    return given or session.current().registry_client()


def _version(uri: str, what: str, client: Client | None) -> Version:
    if not isinstance(uris.parse(uri), uris.VersionUri):
        raise InvalidArgument(f"{what}={uri!r} is not the URI of a version, such as models:/bikes/3")
    return registry_client(client).versions.resolve(uri)
