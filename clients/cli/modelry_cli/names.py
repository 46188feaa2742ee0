"""The names of what answers of a server name by ids: of principals, experiments and models."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelry.types import Place
    from modelry_cli.session import Session

_ID = re.compile("[0-9a-f]{32}")


class Names:
    """Names by ids, for what a command shows. Each id is asked about once, and stays where its name can't be read."""

    def __init__(self, session: Session) -> None:
        self._client = session.client
        self._known: dict[tuple[str, str], str] = {}

    def of(self, principal_id: str) -> str:
        """The name of a principal, or else its id."""
        return self.known(principal_id) or principal_id

    def known(self, principal_id: str) -> str:
        """The name of a principal. Empty if it can't be read. What is no id is the name of a service."""
        if not _ID.fullmatch(principal_id):  # `client.principals.get` would take it for the name of somebody
            return principal_id
        return self._read("principal", principal_id, lambda: self._client.principals.get(principal_id).name)

    def place(self, place: Place) -> str:
        """A place in words, with the names and the ids of experiments and models."""
        if not place.workspace:
            return "everywhere"
        if number := place.experiment_id:
            name = self._read("experiment", number, lambda: self._client.experiments.get(number).name)
            return f"{_both('experiment', name, number)} of {place.workspace}"
        if model_id := place.model_id:
            name = self._read("model", model_id, lambda: self._client.models.get(model_id=model_id).name)
            return f"{_both('model', name, model_id)} of {place.workspace}"
        return f"workspace {place.workspace}"

    def _read(self, kind: str, identity: str, read: Callable[[], str]) -> str:
        from modelry import ModelryError

        if (kind, identity) not in self._known:
            try:
                self._known[kind, identity] = read()
            except ModelryError:  # deleted, not visible to the caller, or its service is away: the id says enough
                self._known[kind, identity] = ""
        return self._known[kind, identity]


def _both(kind: str, name: str, identity: str) -> str:
    return f"{kind} {name} ({identity})" if name else f"{kind} {identity}"
