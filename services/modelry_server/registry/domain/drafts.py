"""Drafts: how a new version comes to be, from what the caller says to a version with frozen files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.domain import journal, names, sources, stages, versions
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.domain.sources import Origin, Sources
from modelry_server.registry.domain.usage import Usage
from modelry_server.registry.entities import Flavor, Signature, SnapshotTarget, Source, Version
from modelry_server.registry.errors import CreatedVersionDeleted
from modelry_server.registry.store import models
from modelry_server.registry.store import versions as store


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller says of a version that should be created."""

    source: Source | None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    signature: Signature | None = None
    flavors: tuple[Flavor, ...] = ()
    reason: str = ""


class Drafts:
    """Creates versions of registered models."""

    def __init__(
        self,
        db: Database,
        requests: Requests,
        lookup: Lookup,
        clock: Clock,
        *,
        sources: Sources,
        snapshots: Snapshots,
        usage: Usage,
    ) -> None:
        self._db = db
        self._requests = requests
        self._lookup = lookup
        self._clock = clock
        self._sources = sources
        self._snapshots = snapshots
        self._usage = usage

    def create(self, workspace: str, model_name: str, draft: Draft, *, request: Request) -> Version:
        """Creates the next version of a model from files of a run, or from another version of the workspace.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, RunDeleted, SourceEmpty, RequestIdReused, RequestInFlight,
        QuotaExceeded; what tracking says of the run, and artifacts of the path.
        """
        names.require(workspace=workspace, model_name=model_name)
        with Fields() as fields:
            fields.request_id(request.request_id)
        with self._db.read() as tx:
            if (known := self._requests.recall(tx, request)) is not None:  # whatever has the name now
                return self._created(tx, model_name, known)
            model_id = self._lookup.model_id(tx, workspace, model_name)
            source = _judged(draft)
            target = SnapshotTarget(id_for(tx, request, model_id), workspace, model_id)
        origin = self._sources.origin(workspace, source)
        with self._usage.taking(workspace) as taking:
            taking.take()
            return self._make(target, origin, draft, model_name, request=request)

    def _make(
        self, target: SnapshotTarget, origin: Origin, draft: Draft, model_name: str, *, request: Request
    ) -> Version:
        """Freezes the files, and writes the version that has them."""
        files = self._snapshots.freeze(target, origin)
        workspace, model_id = target.workspace, target.model_id

        def make() -> tuple[str, Version]:
            self._snapshots.claim(tx, target.version_id)
            now = self._clock.now()
            version = Version(
                version_id=target.version_id,
                workspace=workspace,
                model_id=model_id,
                model_name=model.name,
                version_number=models.next_number(tx, model_id),
                stage=stages.policy_of(workspace, model_id).first,
                run_id=origin.run_id,
                source=origin.source,
                creator=caller.current().subject,
                files=files,
                create_time=now,
                update_time=now,
                description=draft.description,
                tags=draft.tags,
                signature=draft.signature or origin.signature,
                flavors=draft.flavors or origin.flavors,
            )
            store.add(tx, version)
            told = {"version_id": version.version_id, "run_id": version.run_id}
            change = versions.change("version.created", version, after=versions.content(version), payload=told)
            journal.write(tx, model, [change], reason=draft.reason, now=now)
            return version.version_id, version

        try:
            with self._db.write() as tx:
                model = self._lookup.locked_by_id(tx, model_id)
                created = self._requests.once(
                    tx,
                    request,
                    find=lambda known: self._created(tx, model_name, known),
                    make=make,
                    existing=lambda: None,
                )
        except BaseException:
            self._snapshots.give_up(target.version_id)
            raise
        if created.version_id != target.version_id:
            self._snapshots.give_up(target.version_id)
        return created

    def _created(self, tx: Transaction, model_name: str, version_id: str) -> Version:
        """The version that an earlier call of the same request created.

        Raises CreatedVersionDeleted, PermissionMissing.
        """
        version = store.of_id(tx, version_id)
        if version is None:
            raise CreatedVersionDeleted(model_name, version_id)
        self._lookup.require(version.workspace, version.model_id, lambda: CreatedVersionDeleted(model_name, version_id))
        return version


def id_for(tx: Transaction, request: Request, model_id: str) -> str:
    """The id for a new version. The same request gets the same id, so that a retry finds the files that it froze."""
    if not request.request_id:
        return new_id()
    parts = json.dumps([request.subject, request.rpc, request.request_id, request.digest, model_id])
    derived = hashlib.sha256(parts.encode()).hexdigest()[:32]
    return new_id() if store.of_id(tx, derived) else derived  # a request id may be used again after 24 hours


def _judged(draft: Draft) -> Source:
    """The source of a draft. Raises FieldInvalid with everything that is wrong with the draft."""
    with Fields() as fields:
        sources.judge(fields, draft.source)
        names.judge_texts(fields, description=draft.description, tags=draft.tags, reason=draft.reason)
        names.judge_signature(fields, "signature", draft.signature)
        names.judge_flavors(fields, "flavors", draft.flavors)
    assert draft.source is not None, "a missing source raised FieldInvalid"
    return draft.source
