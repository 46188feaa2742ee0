"""API tokens as rows of a table. Their texts are nowhere: only digests."""

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Token
from modelry_server.access.store.tables import tokens
from modelry_server.kernel.sql.statements import Transaction

_SHOWN = (
    *("token_id", "principal_id", "description", "hint", "create_time", "expire_time", "lifetime_ms"),
    *("role_cap", "creator_id", "last_use_time", "revoke_time", "is_invitation"),
)


def add(tx: Transaction, token: Token, digest: str) -> None:
    """Writes a new token."""
    row = {name: getattr(token, name) for name in _SHOWN}
    row |= {"workspaces": json.dumps(list(token.workspaces)), "digest": digest, "former_until": 0}
    tx.execute(sa.insert(tokens).values(row))


def find(tx: Transaction, token_id: str) -> Token | None:
    """The token with this id, if there is one."""
    row = tx.execute(sa.select(tokens).where(tokens.c.token_id == token_id)).one_or_none()
    return entity(row) if row else None


def page(
    tx: Transaction, principal_id: str, *, after: tuple[int, str] | None, limit: int, in_force_at: int | None
) -> list[Token]:
    """Tokens of a principal after a time and an id, the newest first; with `in_force_at` only those in force then."""
    t = tokens
    query = sa.select(t).where(t.c.principal_id == principal_id)
    query = query.order_by(t.c.create_time.desc(), t.c.token_id.desc()).limit(limit)
    if in_force_at is not None:
        query = query.where(_in_force(in_force_at))
    if after is not None:
        query = query.where(sa.tuple_(t.c.create_time, t.c.token_id) < sa.tuple_(*map(sa.literal, after)))
    return [entity(row) for row in tx.execute(query)]


def count(tx: Transaction, principal_id: str, now: int, *, with_invitations: bool = True) -> int:
    """How many tokens of a principal are in force."""
    query = sa.select(sa.func.count()).where(tokens.c.principal_id == principal_id, _in_force(now))
    if not with_invitations:
        query = query.where(tokens.c.is_invitation == sa.false())
    return int(tx.execute(query).scalar_one())


def rotate(tx: Transaction, token: Token, digest: str, former_until: int) -> None:
    """Gives a token the digest of its new text. That of the text before it counts until `former_until`."""
    change = sa.update(tokens).where(tokens.c.token_id == token.token_id)
    tx.execute(
        change.values(
            digest=digest,
            former_digest=tokens.c.digest,
            former_until=former_until,
            hint=token.hint,
            expire_time=token.expire_time,
            lifetime_ms=token.lifetime_ms,
            is_invitation=token.is_invitation,
        )
    )


def revoke(tx: Transaction, token_id: str, now: int) -> None:
    """Revokes a token."""
    tx.execute(sa.update(tokens).where(tokens.c.token_id == token_id).values(revoke_time=now))


def revoke_all(tx: Transaction, principal_id: str, now: int) -> int:
    """Revokes the tokens of a principal, and how many: also those that have ended, which may have begun a long call."""
    mine = sa.update(tokens).where(tokens.c.principal_id == principal_id, tokens.c.revoke_time.is_(None))
    return tx.execute(mine.values(revoke_time=now)).rowcount


def in_force(tx: Transaction, principal_id: str, now: int) -> list[str]:
    """The ids of the tokens of a principal that are in force. Nobody else changes them until the transaction ends."""
    query = sa.select(tokens.c.token_id).where(tokens.c.principal_id == principal_id, _in_force(now))
    return list(tx.execute(query.order_by(tokens.c.token_id).with_for_update()).scalars())


def note_uses(tx: Transaction, token_ids: Collection[str], now: int) -> int:
    """Notes that tokens were used now. Returns how many of them there are.

    Services tell of uses some seconds later. Of a token that was revoked meanwhile the use was before that.

    The rows are locked in the order of their ids: two who note the same ones never wait for each other in a circle.
    """
    wanted = sa.select(tokens.c.token_id).where(tokens.c.token_id.in_(token_ids))
    there = list(tx.execute(wanted.order_by(tokens.c.token_id).with_for_update()).scalars())
    use = sa.case((tokens.c.revoke_time < now, tokens.c.revoke_time), else_=now)
    is_later = sa.or_(tokens.c.last_use_time.is_(None), tokens.c.last_use_time < use)
    tx.execute(sa.update(tokens).where(tokens.c.token_id.in_(there), is_later).values(last_use_time=use))
    return len(there)


def _in_force(now: int) -> sa.ColumnElement[bool]:
    return sa.and_(tokens.c.revoke_time.is_(None), tokens.c.expire_time > now)


def entity(row: Any, prefix: str = "") -> Token:
    """The token in a row, whose columns have a prefix."""
    values = {name: getattr(row, prefix + name) for name in _SHOWN}
    return Token(**values, workspaces=tuple(json.loads(getattr(row, f"{prefix}workspaces"))))
