"""Finds the model that a request is about, for a caller who has the permission.

Every rule begins here, before it checks anything else of the request, and before it reads or locks more than the ids
that it needs. A caller who may not see a model gets the same error as if there were no such model, after the same time.
"""

from collections.abc import Callable

from modelry_server.kernel.access import Access, Place, Within
from modelry_server.kernel.errors import ModelryError
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.domain import names
from modelry_server.registry.entities import Model
from modelry_server.registry.errors import ModelIdNotFound, ModelNotFound, VersionIdNotFound
from modelry_server.registry.store import models, versions


class Lookup:
    """Finds models for the current caller: with the permission of its rpc, unless another one is named."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def workspace(self, workspace: str) -> None:
        """Does nothing if the caller has the permission in the workspace.

        Raises FieldInvalid if none is named, WorkspaceNotFound, PermissionMissing.
        """
        names.require(workspace=workspace)
        self._access.require(Place(workspace))

    def within(self, workspace: str) -> Within:
        """The part of a workspace that a list may show. Raises FieldInvalid, WorkspaceNotFound, PermissionMissing."""
        names.require(workspace=workspace)
        return self._access.within(workspace)

    def require(
        self, workspace: str, model_id: str | None, unseen: Callable[[], ModelryError], *, permission: str | None = None
    ) -> None:
        """Does nothing if the caller has the permission for a model; without an id there is no such model.

        Raises what `unseen` gives, PermissionMissing.
        """
        place = None if model_id is None else Place(workspace, model_id=model_id)
        self._access.require(place, permission=permission, unseen=unseen)

    def model_id(self, tx: Transaction, workspace: str, model_name: str, *needed: str) -> str:
        """The id of the model with this name, for a caller with all of the needed permissions.

        Raises ModelNotFound, PermissionMissing.
        """
        model_id = models.id_of(tx, workspace, model_name)
        for permission in needed or (None,):
            self.require(workspace, model_id, lambda: ModelNotFound(workspace, model_name), permission=permission)
        assert model_id is not None, "what is not there was refused"
        return model_id

    def require_model(self, tx: Transaction, model_id: str) -> None:
        """Does nothing if the caller has the permission for the model with this id.

        Raises ModelIdNotFound, PermissionMissing.
        """
        workspace = models.workspace_of(tx, model_id)
        found = None if workspace is None else model_id
        self.require(workspace or "", found, lambda: ModelIdNotFound(model_id))

    def require_version(self, tx: Transaction, version_id: str) -> None:
        """Does nothing if the caller has the permission for the model of the version with this id.

        Raises VersionIdNotFound, PermissionMissing.
        """
        workspace, model_id = versions.place_of(tx, version_id) or ("", None)
        self.require(workspace, model_id, lambda: VersionIdNotFound(version_id))

    def locked(self, tx: Transaction, workspace: str, model_name: str) -> Model:
        """The model with this name, for a caller with the permission. Without its tags and aliases.

        Nobody else changes it, or what belongs to it, until the transaction ends. Raises ModelNotFound,
        PermissionMissing.
        """
        self.model_id(tx, workspace, model_name)
        return self._judged(models.lock(tx, workspace, model_name), lambda: ModelNotFound(workspace, model_name))

    def locked_by_id(self, tx: Transaction, model_id: str) -> Model:
        """As `locked`: the model with this id."""
        self.require_model(tx, model_id)
        return self._judged(models.lock_id(tx, model_id), lambda: ModelIdNotFound(model_id))

    def locked_by_version(self, tx: Transaction, version_id: str) -> Model:
        """As `locked`: the model of the version with this id. Raises VersionIdNotFound, PermissionMissing."""
        self.require_version(tx, version_id)
        return self._judged(models.lock_of_version(tx, version_id), lambda: VersionIdNotFound(version_id))

    def _judged(self, model: Model | None, unseen: Callable[[], ModelryError]) -> Model:
        """The model that was locked, which may be another one than was judged before: names are given again."""
        if model is None:
            raise unseen()
        self.require(model.workspace, model.model_id, unseen)
        return model
