"""Finds the model that a request is about, for a caller who has the permission.

Every rule begins here, before it checks anything else of the request. A caller who may not read a model gets the same
error as if there were no such model.
"""

from collections.abc import Callable

from modelry_server.kernel.access import Access, Permission, Place
from modelry_server.kernel.errors import ModelryError
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.domain import names
from modelry_server.registry.entities import Model
from modelry_server.registry.errors import ModelIdNotFound, ModelNotFound, VersionIdNotFound
from modelry_server.registry.store import models


class Lookup:
    """Finds models for the current caller."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def workspace(self, permission: Permission, workspace: str) -> None:
        """Does nothing if the caller has the permission in the workspace.

        Raises FieldInvalid if none is named, WorkspaceNotFound, PermissionMissing.
        """
        names.require(workspace=workspace)
        self._access.require(permission, Place(workspace))

    def require(
        self, permission: Permission, workspace: str, model_id: str, unseen: Callable[[], ModelryError]
    ) -> None:
        """Does nothing if the caller has the permission for a model. Raises what `unseen` gives, PermissionMissing."""
        self._access.require(permission, Place(workspace, model_id=model_id), unseen=unseen)

    def model_id(self, tx: Transaction, permission: Permission, workspace: str, model_name: str) -> str:
        """The id of the model with this name. Raises ModelNotFound, PermissionMissing."""
        model_id = models.id_of(tx, workspace, model_name)
        if model_id is None:
            raise ModelNotFound(workspace, model_name)
        self.require(permission, workspace, model_id, lambda: ModelNotFound(workspace, model_name))
        return model_id

    def locked(self, tx: Transaction, workspace: str, model_name: str) -> Model:
        """The model with this name, for a caller who may change it. Without its tags and aliases.

        Nobody else changes it, or what belongs to it, until the transaction ends. Raises ModelNotFound,
        PermissionMissing.
        """
        return self._writable(models.lock(tx, workspace, model_name), lambda: ModelNotFound(workspace, model_name))

    def locked_by_id(self, tx: Transaction, model_id: str) -> Model:
        """As `locked`: the model with this id."""
        return self._writable(models.lock_id(tx, model_id), lambda: ModelIdNotFound(model_id))

    def locked_by_version(self, tx: Transaction, version_id: str) -> Model:
        """As `locked`: the model of the version with this id. Raises VersionIdNotFound, PermissionMissing."""
        return self._writable(models.lock_of_version(tx, version_id), lambda: VersionIdNotFound(version_id))

    def _writable(self, model: Model | None, unseen: Callable[[], ModelryError]) -> Model:
        if model is None:
            raise unseen()
        self.require(Permission.WRITE, model.workspace, model.model_id, unseen)
        return model
