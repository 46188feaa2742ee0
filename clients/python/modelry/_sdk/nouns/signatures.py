"""What is known of the model in a version: its signature, and the flavors in which it can be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from modelry._sdk.nouns import arguments
from modelry._sdk.values.foreign import Unreadable, json_of
from modelry._sdk.values.texts import said_of
from modelry.api.registry import v1 as registry
from modelry.errors import InvalidArgument

_SCHEMAS = ("inputs", "outputs", "params")
_SIGNATURE = (
    "a modelry.types.Signature, what infer_signature returns, or a mapping with some of inputs, outputs and params "
    "as JSON texts"
)
_FLAVORS = (
    "names such as 'sklearn', modelry.types.Flavor, pairs of name and library version, or a mapping from name to "
    "library version"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes and gives, as MLflow's format describes it: each field is the JSON of a schema, or empty."""

    inputs: str = ""
    outputs: str = ""
    params: str = ""


@dataclass(frozen=True, slots=True)
class Flavor:
    """A way in which a model can be loaded, such as `sklearn`, and the version of the library that wrote it."""

    name: str
    library_version: str = ""


AnySignature: TypeAlias = Signature | Mapping[str, str | None] | Any
"""A signature as callers may give it; the last is MLflow's ModelSignature, which is known by its `to_dict`."""
AnyFlavors: TypeAlias = str | Mapping[str, str] | Iterable[Flavor | str | tuple[str, str]]
"""Flavors as callers may give them."""


def signature_message(given: AnySignature) -> registry.Signature | None:
    """The message of a signature. None for None. Raises InvalidArgument, also for a schema that is not JSON."""
    if given is None:
        return None
    schemas = _schemas_of(given)
    for name, schema in schemas.items():
        if arguments.text(f"signature.{name}", schema, "the JSON of a schema, as a text"):
            _require_json(f"signature.{name}", schema)
    return registry.Signature(**schemas)


def flavor_messages(given: AnyFlavors) -> list[registry.Flavor]:
    """The messages of flavors. Raises InvalidArgument."""
    found = []
    for one in _each_flavor(given):
        name, version = (one.name, one.library_version) if isinstance(one, Flavor) else _pair(one)
        name = arguments.text("flavors", name, _FLAVORS)
        version = arguments.text(f"flavors[{name!r}]", version, "the version of the library, as a text")
        found.append(registry.Flavor(name=name, library_version=version))
    return found


def signature_of(message: registry.Signature) -> Signature:
    """The signature that a message holds."""
    return Signature(inputs=message.inputs, outputs=message.outputs, params=message.params)


def _schemas_of(given: Any) -> dict[str, Any]:
    if isinstance(given, Signature):
        return {name: getattr(given, name) for name in _SCHEMAS}
    to_dict = getattr(given, "to_dict", None)
    members = to_dict() if callable(to_dict) and not isinstance(given, type) else given
    if not isinstance(members, Mapping) or not any(name in members for name in _SCHEMAS):
        raise arguments.refused("signature", given, _SIGNATURE)
    return {name: "" if members.get(name) is None else members[name] for name in _SCHEMAS}


def _require_json(argument: str, schema: str) -> None:
    try:
        json_of(schema)
    except Unreadable as problem:
        shown = schema if len(schema) <= 60 else f"{schema[:60]}…"
        raise InvalidArgument(
            f"{argument} is not JSON ({said_of(problem)}): {shown!r}", fields={argument: "is not JSON"}
        ) from None


def _each_flavor(given: AnyFlavors) -> Iterable[Any]:
    if isinstance(given, str | Flavor):
        return [given]
    if isinstance(given, Mapping):
        return given.items()
    if not isinstance(given, Iterable):
        raise arguments.refused("flavors", given, _FLAVORS)
    return given


def _pair(one: Any) -> tuple[Any, Any]:
    if isinstance(one, tuple | list) and len(one) == 2:
        return one[0], one[1]
    return one, ""
