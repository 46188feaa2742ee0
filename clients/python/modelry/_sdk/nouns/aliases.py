"""Aliases: names that point at one version of a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import version_number
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.versions import Version, version_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias as it was when it was set."""

    workspace: str
    model_name: str
    alias: str
    version_number: int
    update_time: datetime | None


@arguments.texts_checked
class Aliases:
    """Points aliases at versions, and resolves them."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def set(self, name: str, alias: str, version: int | str, *, reason: str = "") -> Alias:
        """Points an alias at a version, wherever it pointed before.

        Raises ModelNotFound, VersionNotFound, or FieldInvalid for an alias that looks like a version number, is a stage
        or `latest`, or has characters other than letters, digits, `_`, `-` and `.`.
        """
        request = registry.SetAliasRequest(
            workspace=self._workspace,
            model_name=name,
            alias=alias,
            version_number=version_number(version),
            reason=reason,
        )
        message = self._connection.call(registry.rpcs.SET_ALIAS, request).alias
        return Alias(
            workspace=message.workspace,
            model_name=message.model_name,
            alias=message.alias,
            version_number=message.version_number,
            update_time=time_of(message, "update_time"),
        )

    def get(self, name: str, alias: str) -> Version:
        """Reads the version that an alias points at, in one call. Raises ModelNotFound or AliasNotFound."""
        request = registry.GetAliasRequest(workspace=self._workspace, model_name=name, alias=alias)
        return version_of(self._connection.call(registry.rpcs.GET_ALIAS, request).version)

    def delete(self, name: str, alias: str, *, reason: str = "") -> None:
        """Removes an alias. The version stays. Raises ModelNotFound or AliasNotFound."""
        request = registry.DeleteAliasRequest(workspace=self._workspace, model_name=name, alias=alias, reason=reason)
        self._connection.call(registry.rpcs.DELETE_ALIAS, request)
