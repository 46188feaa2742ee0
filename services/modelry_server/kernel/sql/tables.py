"""What the tables of all rooms have in common."""

import sqlalchemy as sa


def bytewise(length: int | None = None) -> sa.String:
    """The type of a text by which rows are found or sorted: both databases compare it by its bytes.

    PostgreSQL would sort by the rules of the language that it was set up with, otherwise than SQLite and more slowly.
    """
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def requests_table(metadata: sa.MetaData, room: str) -> sa.Table:
    """The table of requests that may come twice; see `idempotency`."""
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
    """The table of keys that the processes of a room share."""
    return sa.Table(
        f"{room}_secrets",
        metadata,
        sa.Column("name", bytewise(), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
