"""The rules of promotions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch, LimitReached
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.domain import journal, names, stages
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.entities import Change, Model, Promotion, PromotionState, Version
from modelry_server.registry.errors import ModelNotFound, PromotionNotFound, VersionIdNotFound, VersionNotFound
from modelry_server.registry.store import promotions as store
from modelry_server.registry.store import versions
from modelry_server.registry.store.search import Key

MOST_ARCHIVED = 1000
"""The most versions that one promotion archives."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promotion did. `promotion` is None if the version itself did not move.

    `archived_version_numbers` are the numbers of the versions that were archived.
    """

    promotion: Promotion | None
    version: Version
    archived_version_numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Move:
    """What a caller wants to move, and where to."""

    version_number: int
    stage: str
    archive_existing: bool = False
    etag: str = ""
    reason: str = ""


class Promotions:
    """Moves versions between stages, and lists the moves."""

    def __init__(self, db: Database, requests: Requests, lookup: Lookup, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._lookup = lookup
        self._clock = clock

    def promote(self, workspace: str, model_name: str, wanted: Move, *, request: Request) -> Promoted:
        """Moves a version to a stage. With `archive_existing` the other versions in that stage move to the archive.

        Which permission that needs depends on the stages, see `StagePolicy.permission`. If the version is in the stage
        already, only the others move. Each move is a promotion of its own. The same request again answers with the same
        promotion and the versions as they are, whatever has the name now. Raises FieldInvalid, ModelNotFound,
        VersionNotFound, VersionIdNotFound, PermissionMissing, EtagMismatch, LimitReached, RequestIdReused,
        RequestInFlight.
        """
        names.require(workspace=workspace, model_name=model_name)
        with Fields() as fields:
            fields.request_id(request.request_id)
        with self._db.write() as tx:
            if (known := self._requests.recall(tx, request)) is not None:
                return self._repeated_answer(tx, known)
            model = self._lookup.locked(tx, workspace, model_name)
            names.require(version_number=wanted.version_number)
            policy = stages.policy_of(workspace, model.model_id)
            version = _version(tx, model, wanted)
            needed = policy.permission(version.stage, wanted.stage)
            unseen = partial(ModelNotFound, workspace, model_name)
            self._lookup.require(workspace, model.model_id, unseen, permission=needed)
            with Fields() as fields:
                policy.judge(fields, "stage", wanted.stage)
                if wanted.archive_existing:
                    policy.judge_archiving(fields, "archive_existing", wanted.stage)
                names.judge_reason(fields, wanted.reason)
            return self._requests.once(
                tx,
                request,
                find=lambda known: self._repeated_answer(tx, known),
                make=lambda: self._move(tx, model, version, wanted, policy=policy),
                existing=lambda: None,
            )

    def get(self, promotion_id: str) -> Promotion:
        """The promotion with this id. Raises FieldInvalid, PromotionNotFound."""
        with Fields() as fields:
            fields.id("promotion_id", promotion_id)
        with self._db.read() as tx:
            found = store.of_ids(tx, [promotion_id])
        if not found:
            raise PromotionNotFound(promotion_id)
        (promotion,) = found
        self._lookup.require(promotion.workspace, promotion.model_id, lambda: PromotionNotFound(promotion_id))
        return promotion

    def page(
        self, workspace: str, model_name: str, version_number: int, *, after: Key | None, limit: int
    ) -> list[Found[Promotion]]:
        """Promotions of a version, or of all versions if the number is 0, after a sort key; the newest first.

        Raises FieldInvalid, ModelNotFound.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.read() as tx:
            model_id = self._lookup.model_id(tx, workspace, model_name)
            names.judge_version_filter(version_number)
            before = int(after[0] or 0) if after else None
            found = store.page(tx, model_id, version_number, before=before, limit=limit)
        return [Found(promotion, (promotion.audit_sequence,)) for promotion in found]

    def _move(
        self, tx: Transaction, model: Model, version: Version, wanted: Move, *, policy: stages.StagePolicy
    ) -> tuple[str, Promoted]:
        """Moves the versions. Returns what `_repeated_answer` needs, and what was done.

        No other service is called here. Evidence for gates must be read before the transaction; in it, compare the
        version's etag and the revision of the gates with those that the evidence was judged by.
        """
        if wanted.etag and wanted.etag != version.etag:
            raise EtagMismatch(wanted.etag, version.etag)
        now = self._clock.now()
        others = versions.in_stages(tx, model.model_id, [wanted.stage]) if wanted.archive_existing else []
        replaced = [other for other in others if other.version_number != version.version_number]
        archived = tuple(other.version_number for other in replaced)
        if len(archived) > MOST_ARCHIVED:
            raise LimitReached(
                "archive_existing", f"versions in {wanted.stage} to archive", len(archived), MOST_ARCHIVED
            )
        moves = [_promotion(version, wanted, wanted.stage, archived, now)] if version.stage != wanted.stage else []
        moves += [_promotion(other, wanted, policy.archive, (), now) for other in replaced]
        if moves:
            ids = {other.version_number: other.version_id for other in (version, *replaced)}
            for move in moves:
                versions.move(tx, model.model_id, move.version_number, move.to_stage, now)
            changes = [_change(move, ids[move.version_number]) for move in moves]
            sequences = journal.write(tx, model, changes, reason=wanted.reason, now=now)
            moves = [replace(move, audit_sequence=at) for move, at in zip(moves, sequences, strict=True)]
            store.add(tx, moves)
        promotion = next((move for move in moves if move.version_number == version.version_number), None)
        made = ",".join([version.version_id, *(move.promotion_id for move in moves)])
        return made, Promoted(
            promotion,
            _moved(version, wanted.stage, now) if promotion else version,
            archived,
        )

    def _repeated_answer(self, tx: Transaction, known: str) -> Promoted:
        """What the same request did before, with the versions as they are. Raises VersionIdNotFound, PermissionMissing.

        `known` are the id of the version and those of the promotions, joined by commas. Names and numbers would not
        do: after a rename, another model can have the name.
        """
        version_id, *promotion_ids = known.split(",")
        version = versions.of_id(tx, version_id)
        if version is None:
            raise VersionIdNotFound(version_id)
        self._lookup.require(version.workspace, version.model_id, lambda: VersionIdNotFound(version_id))
        moves = store.of_ids(tx, promotion_ids) if promotion_ids else []
        promotion = next((move for move in moves if move.version_number == version.version_number), None)
        numbers = [move.version_number for move in moves if move is not promotion]
        return Promoted(promotion, version, tuple(numbers))


def _version(tx: Transaction, model: Model, wanted: Move) -> Version:
    version = versions.find(tx, model.model_id, wanted.version_number)
    if version is None:
        raise VersionNotFound(model.name, wanted.version_number)
    return version


def _promotion(version: Version, wanted: Move, to_stage: str, archived: tuple[int, ...], now: int) -> Promotion:
    return Promotion(
        promotion_id=new_id(),
        workspace=version.workspace,
        model_id=version.model_id,
        model_name=version.model_name,
        version_number=version.version_number,
        from_stage=version.stage,
        to_stage=to_stage,
        state=PromotionState.COMPLETED,
        archived_version_numbers=archived,
        creator=caller.current().subject,
        reason=wanted.reason,
        create_time=now,
    )


def _moved(version: Version, stage: str, now: int) -> Version:
    return replace(version, stage=stage, update_time=now, revision=version.revision + 1)


def _change(promotion: Promotion, version_id: str) -> Change:
    archived = list(promotion.archived_version_numbers)
    numbers = {"archived_version_numbers": archived} if archived else {}
    return Change(
        "version.promoted",
        before={"stage": promotion.from_stage},
        after={"stage": promotion.to_stage, "promotion_id": promotion.promotion_id, **numbers},
        payload={
            "promotion_id": promotion.promotion_id,
            "from_stage": promotion.from_stage,
            "to_stage": promotion.to_stage,
            **numbers,
        },
        version_id=version_id,
        version_number=promotion.version_number,
    )
