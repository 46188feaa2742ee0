"""The rules of promotions."""

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain import journal, names
from modelry_server.registry.domain.models import locked
from modelry_server.registry.entities import IN_USE, Change, Promotion, Stage, Version
from modelry_server.registry.errors import ModelNotFound, VersionNotFound
from modelry_server.registry.store import models, versions
from modelry_server.registry.store import promotions as store


class Promotions:
    """Moves versions between stages, and lists the moves."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def promote(
        self,
        workspace: str,
        model: str,
        number: int,
        stage: Stage,
        *,
        archive_existing: bool = False,
        etag: str = "",
        reason: str = "",
    ) -> tuple[Version, list[Version]]:
        """Moves a version to a stage; with `archive_existing` the others that stand there move to Archived with it.

        Returns the version and those that were archived. Where it stands already only the others move. Each move is a
        change of its own in the record. Raises ModelNotFound, VersionNotFound, FieldInvalid, EtagMismatch.
        """
        with Fields() as fields:
            names.judge_texts(fields, reason=reason)
            if archive_existing and stage not in IN_USE:
                fields.refuse("archive_existing", f"goes with the stages Staging and Production only, not with {stage}")
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            version = versions.find(tx, chain.model_id, number)
            if version is None:
                raise VersionNotFound(model, number)
            if etag and etag != version.etag:
                raise EtagMismatch(etag, version.etag)
            # Gates and approvals belong here: the model is locked, and nothing has moved.
            now = self._clock.now()
            others = versions.in_stages(tx, chain.model_id, [stage]) if archive_existing else []
            archived = [other for other in others if other.number != number]
            moves = [(version, stage)] if version.stage is not stage else []
            moves += [(other, Stage.ARCHIVED) for other in archived]
            if not moves:
                return version, []
            for moved, to_stage in moves:
                versions.move(tx, moved, to_stage, now)
            numbers = tuple(other.number for other in archived)
            promotions = [
                Promotion(
                    sequence=sequence,
                    number=moved.number,
                    from_stage=moved.stage,
                    to_stage=to_stage,
                    archived_numbers=numbers if moved is version else (),
                    user=caller.current().subject,
                    reason=reason,
                    create_time=now,
                )
                for sequence, (moved, to_stage) in enumerate(moves, start=chain.sequence + 1)
            ]
            store.add(tx, chain.model_id, promotions)
            changed = [versions.find(tx, chain.model_id, each) or version for each in (number, *numbers)]
            journal.write(tx, chain, [_change(promotion) for promotion in promotions], reason=reason, now=now)
        return changed[0], changed[1:]

    def page(self, workspace: str, model: str, number: int, *, before: int | None, limit: int) -> list[Promotion]:
        """Moves of a version, or of all versions if `number` is 0, before a sequence; the newest first.

        Raises ModelNotFound, FieldInvalid.
        """
        with Fields() as fields:
            if number < 0:
                fields.refuse("number", f"{number} is negative; 0 means all versions")
        with self._db.read() as tx:
            model_id = models.id_of(tx, workspace, model)
            if model_id is None:
                raise ModelNotFound(workspace, model)
            return store.page(tx, model_id, number, before=before, limit=limit)


def _change(promotion: Promotion) -> Change:
    after: dict[str, str | list[int]] = {"stage": promotion.to_stage}
    if promotion.archived_numbers:
        after["archived_numbers"] = list(promotion.archived_numbers)
    return Change("version.promoted", {"stage": promotion.from_stage}, after, promotion.number)
