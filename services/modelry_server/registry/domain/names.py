"""Names, labels and limits of the registry: what the contract's comments promise is judged here."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

from modelry_server.kernel.requests.fields import DESCRIPTION_LENGTH, NOTE_LENGTH, Fields, shown
from modelry_server.registry.domain.stages import StagePolicy
from modelry_server.registry.entities import Flavor, Signature

MODEL_NAME_LENGTH = 250
ALIAS_LENGTH = 250
ALIASES_PER_MODEL = 2000
SCHEMA_LENGTH = 1_000_000
SIGNATURE_BYTES = 1 << 20
"""The most that the schemas of a signature take together, so that a version with all its fields can be sent."""
FLAVORS = 100
FLAVOR_LENGTH = 250

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}
_ALIAS = re.compile(rf"[A-Za-z][A-Za-z0-9_.-]{{0,{ALIAS_LENGTH - 1}}}\Z")
_VERSION = re.compile(r"v?[0-9]+\Z")
_LATEST = "latest"


def require(**values: str | int) -> None:
    """Refuses a request in which a field that says what it is about is empty. Raises FieldInvalid."""
    if all(values.values()):
        return
    with Fields() as fields:
        for path, value in values.items():
            if not value:
                fields.refuse(path, "is required")


def require_one_way(id_field: str, thing_id: str, **names: str | int) -> None:
    """Refuses a request that does not name a thing in exactly one way: by its id, or by all of the other fields.

    Raises FieldInvalid.
    """
    if not thing_id:
        with Fields() as fields:
            for path, value in names.items():
                if not value:
                    fields.refuse(path, f"is required unless {id_field} is set")
        return
    with Fields() as fields:
        fields.id(id_field, thing_id)
        if given := [path for path, value in names.items() if value]:
            fields.refuse(id_field, f"can't be combined with {', '.join(given)}; send either the id or the others")


def judge_model(fields: Fields, path: str, name: str) -> None:
    """The name of a model: it can be part of `models:/<name>/<version>`, and shows all its characters."""
    fields.name(path, name, longest=MODEL_NAME_LENGTH)
    if bad := next((char for char in name if char in "/:@"), None):
        fields.refuse(path, f"{shown(name)} contains {bad!r}, which separates the parts of a model URI")
    if bad := next((char for char in name if unicodedata.category(char) in _INVISIBLE), None):
        fields.refuse(path, f"{shown(name)} contains the invisible character U+{ord(bad):04X}")


def judge_alias(fields: Fields, path: str, alias: str, policy: StagePolicy) -> None:
    """An alias: it can't be mistaken for a version number, a stage of the model, or `latest`."""
    taken = {_LATEST, *(stage.lower() for stage in policy.stages)}
    if not _ALIAS.match(alias):
        rule = f"it needs 1 to {ALIAS_LENGTH} letters, digits, '_', '-' and '.', beginning with a letter"
        fields.refuse(path, f"{shown(alias)} can't be an alias: {rule}")
    elif alias.lower() in taken:
        meaning = "the newest version" if alias.lower() == _LATEST else "a stage"
        fields.refuse(path, f"{shown(alias)} can't be an alias: in a model URI it means {meaning}")
    elif _VERSION.match(alias.lower()):
        fields.refuse(path, f"{shown(alias)} can't be an alias: it looks like a version number")


def judge_texts(
    fields: Fields, *, description: str = "", tags: Mapping[str, str] | None = None, reason: str = "", at: str = ""
) -> None:
    """A description, first tags and a reason. `at` is the path of the message that holds the description."""
    fields.text(f"{at}description", description, longest=DESCRIPTION_LENGTH, controls=True)
    fields.first_tags(tags or {})
    judge_reason(fields, reason)


def judge_reason(fields: Fields, reason: str) -> None:
    """Why something is changed."""
    fields.text("reason", reason, longest=NOTE_LENGTH, controls=True)


def judge_signature(fields: Fields, path: str, signature: Signature | None) -> None:
    """The schemas of a signature: each is JSON or empty. Nothing else is read of them here."""
    if signature is None:
        return
    schemas = {"inputs": signature.inputs, "outputs": signature.outputs, "params": signature.params}
    for name, schema in schemas.items():
        fields.text(f"{path}.{name}", schema, longest=SCHEMA_LENGTH, controls=True)
        if 0 < len(schema) <= SCHEMA_LENGTH and not _is_json(schema):
            fields.refuse(f"{path}.{name}", "is not JSON")
    size = sum(len(schema.encode()) for schema in schemas.values())
    if size > SIGNATURE_BYTES:
        fields.refuse(path, f"has {size} bytes, at most {SIGNATURE_BYTES} are allowed together")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def judge_flavors(fields: Fields, path: str, flavors: Sequence[Flavor]) -> None:
    """The flavors of a version: each name once."""
    if not fields.count(path, flavors, most=FLAVORS):
        return
    names = [flavor.name for flavor in flavors]
    for index, flavor in enumerate(flavors[:FLAVORS]):
        fields.name(f"{path}[{index}].name", flavor.name, longest=FLAVOR_LENGTH)
        fields.text(f"{path}[{index}].library_version", flavor.library_version, longest=FLAVOR_LENGTH)
        if flavor.name in names[:index]:
            fields.refuse(f"{path}[{index}].name", f"{shown(flavor.name)} is in the list already")


def judge_version_filter(version_number: int) -> None:
    """The version number in a list of all that belongs to a model: 0 means all versions. Raises FieldInvalid."""
    with Fields() as fields:
        if version_number < 0:
            fields.refuse("version_number", f"{version_number} is negative; use 0 for all versions")
