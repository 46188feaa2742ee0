"""Whose a credential is, as queries."""

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from modelry_server.access.entities import Principal, Token
from modelry_server.access.store import principals, tokens
from modelry_server.access.store.tables import principals as principal_table
from modelry_server.access.store.tables import tokens as tokens_table
from modelry_server.kernel.sql.statements import Transaction


class Credential(NamedTuple):
    """A token as it is judged: with its digests, until when the former one is accepted, and with its principal."""

    token: Token
    principal: Principal
    digest: str
    former_digest: str
    former_until: int


def by_digest(tx: Transaction, digest: str) -> Credential | None:
    """The token with this digest, or with it as the former one, if there is one. One query, whatever is there."""
    return _credential(tx, sa.or_(tokens_table.c.digest == digest, tokens_table.c.former_digest == digest))


def by_id(tx: Transaction, token_id: str) -> Credential | None:
    """The token with this id, if there is one."""
    return _credential(tx, tokens_table.c.token_id == token_id)


def _credential(tx: Transaction, hit: sa.ColumnElement[bool]) -> Credential | None:
    t, p = tokens_table, principal_table
    join = t.join(p, p.c.principal_id == t.c.principal_id)
    own = [column.label(f"token_{column.name}") for column in t.columns]
    row = tx.execute(sa.select(p, *own).select_from(join).where(hit)).first()
    if row is None:
        return None
    return Credential(
        tokens.entity(row, "token_"),
        principals.entity(row),
        row.token_digest,
        row.token_former_digest or "",
        row.token_former_until,
    )


def of_certificate(tx: Transaction, issuer: str, names: Collection[str]) -> list[Principal]:
    """The principals with one of these ids of an issuer."""
    t = principal_table
    query = sa.select(t).where(t.c.issuer == issuer, t.c.external_id.in_(names), principals.is_external)
    return [principals.entity(row) for row in tx.execute(query)]
