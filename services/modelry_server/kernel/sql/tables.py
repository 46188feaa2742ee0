"""Types of columns, and tables, that all services have."""

import sqlalchemy as sa


def bytewise(length: int | None = None) -> sa.String:
    """The type of a text by which rows are found or sorted: both databases compare it by its bytes.

    By default PostgreSQL compares by the rules of the database's language: differently from SQLite, and more slowly.
    """
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def requests_table(metadata: sa.MetaData, room: str) -> sa.Table:
    """The table of requests that may be sent twice; see `idempotency`."""
    return sa.Table(
        f"{room}_requests",
        metadata,
        sa.Column("subject", bytewise(), primary_key=True),
        sa.Column("rpc", bytewise(), primary_key=True),
        sa.Column("request_id", bytewise(), primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )


def secrets_table(metadata: sa.MetaData, room: str) -> sa.Table:
    """The table of keys that the processes of a service share; see `secrets`."""
    return sa.Table(
        f"{room}_secrets",
        metadata,
        sa.Column("name", bytewise(), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
