"""Names, labels and limits of the registry: what the contract's comments promise is judged here."""

import re
import unicodedata
from collections.abc import Mapping

from modelry_server.kernel.requests.fields import DESCRIPTION_LENGTH, NOTE_LENGTH, Fields, shown
from modelry_server.registry.entities import Stage

MODEL_NAME_LENGTH = 250
ALIAS_LENGTH = 250
ALIASES_PER_MODEL = 2000

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}
_ALIAS = re.compile(rf"[A-Za-z][A-Za-z0-9_.-]{{0,{ALIAS_LENGTH - 1}}}\Z")
_VERSION = re.compile(r"v?[0-9]+\Z")
_TAKEN = {"latest", *(stage.lower() for stage in Stage)}


def judge_model(fields: Fields, path: str, name: str) -> None:
    """The name of a model: it can stand in `models:/<name>/<version>` and looks like what it is."""
    fields.name(path, name, longest=MODEL_NAME_LENGTH)
    if bad := next((char for char in name if char in "/:@"), None):
        fields.refuse(path, f"{shown(name)} contains {bad!r}, which separates the parts of a model's address")
    if bad := next((char for char in name if unicodedata.category(char) in _INVISIBLE), None):
        fields.refuse(path, f"{shown(name)} contains the invisible character U+{ord(bad):04X}")


def judge_alias(fields: Fields, path: str, alias: str) -> None:
    """An alias: it can't be taken for a version number, a stage or `latest`."""
    if not _ALIAS.match(alias):
        rule = f"1 to {ALIAS_LENGTH} letters, digits, '_', '-' and '.', beginning with a letter"
        fields.refuse(path, f"{shown(alias)} is not an alias: {rule}")
    elif alias.lower() in _TAKEN:
        fields.refuse(path, f"{shown(alias)} can't be an alias: it means something else in a model's address already")
    elif _VERSION.match(alias.lower()):
        fields.refuse(path, f"{shown(alias)} can't be an alias: it looks like a version number")


def judge_texts(
    fields: Fields, *, description: str = "", tags: Mapping[str, str] | None = None, reason: str = "", at: str = ""
) -> None:
    """A description, first tags and a reason; `at` is the path of the message that holds the description."""
    fields.text(f"{at}description", description, longest=DESCRIPTION_LENGTH, controls=True)
    fields.tags("tags", tags or {})
    fields.tags_together("tags", tags or {})
    fields.text("reason", reason, longest=NOTE_LENGTH, controls=True)
