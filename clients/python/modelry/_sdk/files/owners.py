"""Owners of artifacts: `runs/<run_id>` and `versions/<version_id>` as text, `ArtifactOwner` on the wire."""

from __future__ import annotations

from collections.abc import Collection

from modelry._sdk.transport import unfinished
from modelry.api.artifacts import v1 as artifacts
from modelry.errors import FieldInvalid


def to_read(owner: str, path: str) -> artifacts.ArtifactOwner:
    """The owner as a message, after what this process still writes at, above or below a path. Raises FieldInvalid."""
    message = message_of(owner)
    if message.run_id:
        unfinished.before_reading(message.run_id, path)
    return message


def to_write(owner: str, paths: Collection[str]) -> artifacts.ArtifactOwner:
    """The owner as a message, after what this process still writes at, above or below paths. Raises FieldInvalid."""
    message = message_of(owner)
    if message.run_id:
        unfinished.before_writing(message.run_id, paths)
    return message


def message_of(owner: str) -> artifacts.ArtifactOwner:
    """The owner as a message. Raises FieldInvalid for a text of another form."""
    kind, _, owner_id = owner.partition("/") if isinstance(owner, str) else ("", "", "")
    if owner_id and kind == "runs":
        return artifacts.ArtifactOwner(run_id=owner_id)
    if owner_id and kind == "versions":
        return artifacts.ArtifactOwner(version_id=owner_id)
    problem = f"{owner!r} is not an owner of artifacts; use 'runs/<run_id>' or 'versions/<version_id>'"
    raise FieldInvalid(f"owner: {problem}", metadata={"owner": str(owner)}, fields={"owner": problem})


def text_of(message: artifacts.ArtifactOwner) -> str:
    """The owner as text. Empty if the message has a kind of owner that this client does not know."""
    kind = message.WhichOneof("owner")
    if kind == "run_id":
        return f"runs/{message.run_id}"
    return f"versions/{message.version_id}" if kind == "version_id" else ""
