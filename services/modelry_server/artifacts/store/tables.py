"""The tables of artifacts, and nothing but tables."""

import sqlalchemy as sa

from modelry_server.kernel.sql.tables import bytewise, secrets_table

metadata = sa.MetaData()

_Key = bytewise()  # so that the paths in a folder are one range of an index

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("blob_key", _Key, primary_key=True),
    sa.Column("sha256", _Key, unique=True),  # NULL: marked for deletion, nothing may refer to it any more
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    # When a reference was last released, or when it was marked for deletion. NULL: in use.
    sa.Column("release_time", sa.BigInteger),
    sqlite_with_rowid=False,
)
sa.Index(
    "blobs_released",
    blobs.c.release_time,
    postgresql_where=blobs.c.release_time.is_not(None),
    sqlite_where=blobs.c.release_time.is_not(None),
)

owners = sa.Table(
    "owners",
    metadata,
    sa.Column("owner", _Key, primary_key=True),
    sa.Column("workspace", _Key, nullable=False),
    sa.Column("experiment_id", sa.Text, nullable=False),  # of a run; else empty
    sa.Column("model_id", sa.Text, nullable=False),  # of a version; else empty
    sqlite_with_rowid=False,
)
sa.Index("owners_by_workspace", owners.c.workspace, owners.c.owner)

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("owner", _Key, sa.ForeignKey("owners.owner"), primary_key=True),
    sa.Column("path", _Key, primary_key=True),
    sa.Column("parent", _Key),  # the path of its folder; NULL for the root, whose own path is empty
    sa.Column("sha256", _Key, sa.ForeignKey("blobs.sha256")),  # NULL for a folder
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("file_count", sa.BigInteger, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("artifacts_by_parent", artifacts.c.owner, artifacts.c.parent, artifacts.c.path)
sa.Index(
    "artifacts_by_sha256",
    artifacts.c.sha256,
    postgresql_where=artifacts.c.sha256.is_not(None),
    sqlite_where=artifacts.c.sha256.is_not(None),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("version_id", _Key, primary_key=True),
    sa.Column("workspace", _Key, nullable=False),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("source_owner", _Key, nullable=False),
    sa.Column("source_path", _Key, nullable=False),
    sa.Column("manifest_sha256", sa.Text, nullable=False),
    sa.Column("file_count", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
)

secrets = secrets_table(metadata, "artifacts")
