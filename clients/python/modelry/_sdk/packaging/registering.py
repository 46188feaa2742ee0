"""Registering models, with the signature and the flavors that their MLmodel file names."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modelry._sdk.fluent import functions, session
from modelry._sdk.nouns import uris
from modelry._sdk.nouns.signatures import Flavor, Signature
from modelry._sdk.nouns.versions import Version
from modelry._sdk.packaging import judging
from modelry._sdk.transport import settings
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument, ModelryError, NotFound

if TYPE_CHECKING:
    from modelry._sdk.client import Client

log = logging.getLogger("modelry")

_LONGEST_SCHEMA = 1_000_000
_LONGEST_NAME = 250
_MOST_FLAVORS = 100


def register_model(model_uri: str, name: str, *, tags: Mapping[str, object] | None = None) -> Version:
    """Creates the next version of a model from `runs:/<run_id>/<path>`, and the model if there is none.

    Signature and flavors are read from the MLmodel file at the path, if PyYAML is installed. A folder without that file
    becomes a version too, with a warning: its files can be downloaded, and no `load_model` reads it. Raises
    RunNotFound, SourceEmpty and the other errors of `Client.versions.create`.
    """
    functions.flush(settings.read().timeout)
    client = session.current().client()
    signature, flavors = described_by(_mlmodel(model_uri, client))
    registry = session.current().registry_client()
    registry.models.create(name, allow_existing=True)
    version = registry.versions.create(name, model_uri, tags=tags, signature=signature, flavors=flavors)
    if not flavors and not _has_mlmodel(version, registry):
        log.warning(
            "version %d of %s has no file MLmodel, so it is a folder of files and no model in MLflow's format: "
            "client.artifacts.download(%r) fetches it, and no load_model reads it; log a model with "
            "modelry.<flavor>.log_model",
            *(version.version_number, name, version.owner),
        )
    return version


def _has_mlmodel(version: Version, registry: Client) -> bool:
    try:
        registry.artifacts.get(version.owner, "MLmodel")
    except NotFound:
        return False
    except ModelryError:
        return True  # The version is there; this is only advice.
    return True


def described_by(mlmodel: Mapping[str, Any]) -> tuple[Signature | None, tuple[Flavor, ...]]:
    """The signature and the flavors of an MLmodel file. What exceeds the limits of the contract is left out."""
    schemas = _texts(mlmodel.get("signature"))
    signature = Signature(**{key: schemas.get(key, "") for key in ("inputs", "outputs", "params")})
    fits = schemas and all(len(schema) <= _LONGEST_SCHEMA for schema in schemas.values())
    flavors = mlmodel.get("flavors")
    found = [
        Flavor(name, _library_version(name, _texts(options)))
        for name, options in ((text_of(name), options) for name, options in _items(flavors))
        if 0 < len(name) <= _LONGEST_NAME
    ]
    return signature if fits else None, tuple(found[:_MOST_FLAVORS])


def _library_version(flavor: str, options: Mapping[str, str]) -> str:
    """The version of the library of a flavor: `sklearn_version`, or the only other one, such as `xgb_version`."""
    versions = {key: text for key, text in options.items() if key.endswith("_version") and key != "python_version"}
    only = next(iter(versions.values())) if len(versions) == 1 else ""
    version = versions.get(f"{flavor}_version", only)
    return version if len(version) <= _LONGEST_NAME else ""


def _mlmodel(model_uri: str, client: Client) -> Mapping[str, Any]:
    """The content of the MLmodel file of a run; empty if it can't be read."""
    uri = uris.parse(model_uri)
    if not isinstance(uri, uris.RunUri):
        return {}
    owner, path = f"runs/{uri.run_id}", f"{uri.path}/MLmodel"
    try:
        return judging.read(client.artifacts.read_bytes(owner, path, max_bytes=judging.LARGEST_BYTES))
    except (NotFound, InvalidArgument, ModuleNotFoundError):
        return {}


def _texts(value: object) -> dict[str, str]:
    """The members of a mapping that are texts."""
    return {text_of(key): text_of(text) for key, text in _items(value) if isinstance(text, str)}


def _items(value: object) -> Iterable[tuple[object, object]]:
    return value.items() if isinstance(value, Mapping) else ()
