"""Whose files: runs, which tracking knows, and versions, which are known here by their snapshot."""

import re
from dataclasses import dataclass

from modelry_server.artifacts.clients import Runs
from modelry_server.artifacts.errors import OwnerFrozen, OwnerNotFound, RunDeleted
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import shown

_OWNER = re.compile(r"(runs|versions)/([0-9a-f]{32})\Z")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who can own files. The files of a version never change."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"

    @property
    def is_version(self) -> bool:
        """Whether it is a model version."""
        return self.kind == "versions"


def parse(text: str, field: str = "owner") -> Owner:
    """The owner that a text names. Raises FieldInvalid."""
    match = _OWNER.match(text)
    if match is None:
        wanted = "`runs/<id>` or `versions/<id>` with an id of 32 lower-case hexadecimal characters"
        raise FieldInvalid({field: f"{shown(text)} is not an owner of artifacts: {wanted}"})
    return Owner(match[1], match[2])


def parse_version(text: str, field: str = "owner") -> Owner:
    """The version that a text names. Raises FieldInvalid."""
    owner = parse(text, field)
    if not owner.is_version:
        raise FieldInvalid({field: f"{shown(text)} can't own a snapshot: `versions/<id>` is needed"})
    return owner


class Owners:
    """Says whether an owner exists and may be written to. Asks tracking: never call it inside a transaction."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def require(self, owner: Owner) -> None:
        """For an owner of which nothing is stored: raises OwnerNotFound unless it is a run that tracking knows."""
        if owner.is_version or self._runs.deleted(owner.id) is None:
            raise OwnerNotFound(str(owner))

    def require_writable(self, owner: Owner) -> None:
        """Raises OwnerFrozen, OwnerNotFound, RunDeleted, ServiceUnavailable unless files may be written now."""
        if owner.is_version:
            raise OwnerFrozen(str(owner))
        deleted = self._runs.deleted(owner.id)
        if deleted is None:
            raise OwnerNotFound(str(owner))
        if deleted:
            raise RunDeleted(owner.id)
