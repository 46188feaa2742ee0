"""Bindings of roles as rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Member, RoleBinding
from modelry_server.access.store.tables import role_bindings, workspaces
from modelry_server.kernel.access import Place, Within
from modelry_server.kernel.sql.statements import Transaction, insert

_b = role_bindings.c


@dataclass(frozen=True, slots=True)
class Visible:
    """Whose bindings a list may show: those of the whole installation, and those of these parts of workspaces.

    `everything` is all of it, so that the rest does not matter.
    """

    everything: bool = False
    parts: Mapping[str, Within] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which bindings are asked for: of what lies at a place, of one subject, of one role. None, and no role: all."""

    place: Place | None = None
    subject: Member | None = None
    role: str = ""


def add(tx: Transaction, binding: RoleBinding) -> bool:
    """Writes a new binding; False if the role is bound so already."""
    row = {
        "binding_id": binding.binding_id,
        "role": binding.role,
        "is_group": binding.subject.is_group,
        "subject": binding.subject.name,
        "workspace": binding.place.workspace,
        "experiment_id": binding.place.experiment_id,
        "model_id": binding.place.model_id,
        "creator_id": binding.creator_id,
        "create_time": binding.create_time,
    }
    return tx.execute(insert(tx, role_bindings).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, binding_id: str) -> RoleBinding | None:
    """The binding with this id, if there is one."""
    row = tx.execute(sa.select(role_bindings).where(_b.binding_id == binding_id)).one_or_none()
    return _entity(row) if row else None


def alike(tx: Transaction, binding: RoleBinding) -> RoleBinding | None:
    """The binding of the same role to the same subject at the same place, if there is one."""
    query = sa.select(role_bindings).where(
        *_of(binding.subject),
        _b.role == binding.role,
        *_exactly(binding.place),
    )
    row = tx.execute(query).one_or_none()
    return _entity(row) if row else None


def count(tx: Transaction, workspace: str, subject: Member | None = None) -> int:
    """How many bindings there are in a workspace: in all, or of one subject."""
    query = sa.select(sa.func.count()).select_from(role_bindings).where(_b.workspace == workspace)
    if subject is not None:
        query = query.where(*_of(subject))
    return tx.execute(query).scalar_one()


def delete(tx: Transaction, binding_id: str) -> bool:
    """Removes a binding; False if there is none."""
    return tx.execute(sa.delete(role_bindings).where(_b.binding_id == binding_id)).rowcount == 1


def page(tx: Transaction, visible: Visible, wanted: Wanted, after: str, limit: int) -> list[RoleBinding]:
    """The bindings after an id, the oldest first."""
    query = sa.select(role_bindings).where(_b.binding_id > after).order_by(_b.binding_id).limit(limit)
    if wanted.subject is not None:
        query = query.where(*_of(wanted.subject))
    if wanted.place is not None:
        query = query.where(*_inside(wanted.place))
    if wanted.role:
        # Few bindings lie at a place, and very many are of one role: SQLite would begin with the role there, too.
        role = _b.role if wanted.place is None else _b.role.concat("")
        query = query.where(role == wanted.role)
    if not visible.everything:
        query = query.where(_seen(visible.parts))
    return [_entity(row) for row in tx.execute(query)]


def workspace_names(tx: Transaction) -> list[str]:
    """All workspaces, by name."""
    return list(tx.execute(sa.select(workspaces.c.name).order_by(workspaces.c.name)).scalars())


def _of(subject: Member) -> list[sa.ColumnElement[bool]]:
    return [_b.subject == subject.name, _b.is_group == (sa.true() if subject.is_group else sa.false())]


def _exactly(place: Place) -> list[sa.ColumnElement[bool]]:
    return [
        _b.workspace == place.workspace,
        _b.experiment_id == place.experiment_id,
        _b.model_id == place.model_id,
    ]


def _inside(place: Place) -> list[sa.ColumnElement[bool]]:
    """All that is bound at a place, and at what lies in it."""
    conditions = [_b.workspace == place.workspace]
    if place.experiment_id:
        conditions.append(_b.experiment_id == place.experiment_id)
    if place.model_id:
        conditions.append(_b.model_id == place.model_id)
    return conditions


def _seen(parts: Mapping[str, Within]) -> sa.ColumnElement[bool]:
    conditions: list[sa.ColumnElement[bool]] = [
        _b.workspace.in_([name for name, within in parts.items() if within.is_all])
    ]
    for name, within in parts.items():
        if within.is_all:
            continue
        here = [_b.experiment_id.in_(within.experiment_ids), _b.model_id.in_(within.model_ids)]
        conditions.append(sa.and_(_b.workspace == name, sa.or_(*here)))
    return sa.or_(*conditions)


def _entity(row: Any) -> RoleBinding:
    return RoleBinding(
        row.binding_id,
        row.role,
        Member(row.subject, row.is_group),
        Place(row.workspace, row.experiment_id, row.model_id),
        row.creator_id,
        row.create_time,
    )
