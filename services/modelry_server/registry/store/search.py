"""Filters and orders over models and versions as SQL."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy as sa

from modelry_server.kernel.access import Within
from modelry_server.kernel.filter import Field, Node, OrderKey
from modelry_server.kernel.requests.paging import Found, SortValue, completed
from modelry_server.kernel.sql.predicate import (
    Column,
    Columns,
    Condition,
    Kind,
    Order,
    SortKey,
    among,
    order,
    predicate,
)
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.entities import Model, Version
from modelry_server.registry.store import models as model_rows
from modelry_server.registry.store import versions as version_rows
from modelry_server.registry.store.tables import aliases, evaluation_metrics, model_tags, models, version_tags, versions

SCOPES = ("attributes", "tags")
"""The scopes of fields that a filter of models can name."""
VERSION_SCOPES = (*SCOPES, "evaluation")
"""The scopes of fields that a filter of versions can name."""

Key: TypeAlias = tuple[SortValue, ...]
"""The sort key of a row."""


def _text(column: sa.Column[str], **more: Any) -> Column:
    return Column(column, Kind.TEXT, nullable=False, **more)


def _number(column: sa.Column[int]) -> Column:
    return Column(column, Kind.NUMBER, nullable=False)


_MODEL_ATTRIBUTES = {
    "name": _text(models.c.name),
    "creator": _text(models.c.creator, long=True),
    "create_time": _number(models.c.create_time),
    "update_time": _number(models.c.update_time),
}


def _has_alias(condition: Condition) -> Condition:
    pointing = sa.select(aliases.c.alias).where(
        aliases.c.model_id == versions.c.model_id, aliases.c.version_number == versions.c.version_number
    )
    return pointing.where(condition).exists()


_VERSION_ATTRIBUTES = {
    "model_name": _text(models.c.name),
    "version_number": _number(versions.c.version_number),
    "run_id": _text(versions.c.run_id),
    "source": _text(versions.c.source, long=True),
    "stage": _text(versions.c.stage),
    "alias": _text(aliases.c.alias, within=_has_alias),
    "creator": _text(versions.c.creator, long=True),
    "create_time": _number(versions.c.create_time),
    "update_time": _number(versions.c.update_time),
}


def _model_column(field: Field) -> Column | None:
    if field.scope != "tags":
        return _MODEL_ATTRIBUTES.get(field.key)
    t = model_tags
    value = sa.select(t.c.value).where(t.c.model_id == models.c.model_id, t.c.key == field.key)
    return Column(value.scalar_subquery(), Kind.TEXT, long=True)


def _version_columns(stages: Sequence[str]) -> Columns:
    """What a filter can name of versions that are in one of the stages."""
    attributes = _VERSION_ATTRIBUTES | {"stage": _text(versions.c.stage, choices=tuple(stages))}

    def of(field: Field) -> Column | None:
        if field.scope == "evaluation":
            return _evaluated(field.key)
        if field.scope != "tags":
            return attributes.get(field.key)
        t = version_tags
        of_version = (t.c.model_id == versions.c.model_id, t.c.version_number == versions.c.version_number)
        value = sa.select(t.c.value).where(*of_version, t.c.key == field.key)
        return Column(value.scalar_subquery(), Kind.TEXT, long=True)

    return Columns(of, f"{', '.join(attributes)}, tags.<key>, evaluation.<name>.<metric>")


def _evaluated(key: str) -> Column | None:
    """A metric of the newest evaluation of a name. The name ends at the first point, which no name has."""
    name, _, metric = key.partition(".")
    if not name or not metric:
        return None
    t = evaluation_metrics
    of_version = (t.c.model_id == versions.c.model_id, t.c.version_number == versions.c.version_number)
    value = sa.select(t.c.value).where(*of_version, t.c.name == name, t.c.metric == metric)
    return Column(value.scalar_subquery(), Kind.NUMBER)


_MODEL_COLUMNS = Columns(_model_column, f"{', '.join(_MODEL_ATTRIBUTES)}, tags.<key>")
_MODEL_ORDER = [SortKey(_MODEL_ATTRIBUTES["name"])]
_VERSION_ORDER = [
    SortKey(_VERSION_ATTRIBUTES["create_time"], descending=True),
    SortKey(_VERSION_ATTRIBUTES["version_number"], descending=True),
    SortKey(_text(versions.c.version_id), descending=True),
]


def models_page(
    tx: Transaction,
    workspace: str,
    filter: Node | None,
    order_by: Sequence[OrderKey],
    *,
    within: Within,
    after: Key | None,
    limit: int,
) -> Iterator[Found[Model]]:
    """The models of a part of a workspace that a filter finds, after a sort key; by name where nothing else decides.

    Raises FilterSyntax.
    """
    wanted = order(order_by, _MODEL_COLUMNS, last=_MODEL_ORDER)
    query = sa.select(*model_rows.LISTED).where(models.c.workspace == workspace)
    if not within.is_all:
        query = query.where(among(models.c.model_id, within.model_ids))
    rows = _rows(tx, query, wanted, _condition(filter, _MODEL_COLUMNS), after, limit)
    return completed(list(map(Found, rows, _keys(rows, wanted))), partial(model_rows.listed, tx))


def versions_page(
    tx: Transaction,
    workspace: str,
    filter: Node | None,
    order_by: Sequence[OrderKey],
    *,
    within: Within,
    stages: Sequence[str],
    after: Key | None,
    limit: int,
) -> Iterator[Found[Version]]:
    """The versions of a part of a workspace that a filter finds, after a sort key, without signatures; the newest first
    where nothing else decides.

    `stages` are those that a version can be in. Raises FilterSyntax.
    """
    columns = _version_columns(stages)
    wanted = order(order_by, columns, last=_VERSION_ORDER)
    query = version_rows.brief.where(versions.c.workspace == workspace)
    if not within.is_all:
        query = query.where(among(versions.c.model_id, within.model_ids))
    rows = _rows(tx, query, wanted, _condition(filter, columns), after, limit)
    return completed(list(map(Found, rows, _keys(rows, wanted))), partial(version_rows.of_brief, tx))


def _condition(filter: Node | None, columns: Columns) -> Condition | None:
    return None if filter is None else predicate(filter, columns)


def _rows(
    tx: Transaction, query: sa.Select[Any], wanted: Order, condition: Condition | None, after: Key | None, limit: int
) -> list[sa.Row[Any]]:
    keys = [column.label(f"sort_key_{index}") for index, column in enumerate(wanted.columns)]
    query = query.add_columns(*keys).order_by(*wanted.clauses).limit(limit)
    if condition is not None:
        query = query.where(condition)
    if after is not None:
        query = query.where(wanted.after(after))
    return list(tx.execute(query))


def _keys(rows: Sequence[sa.Row[Any]], wanted: Order) -> list[Key]:
    return [tuple(row[-len(wanted.columns) :]) for row in rows]
