from __future__ import annotations

import io

import sqlalchemy as sa

from tests.parts.minio import MinioServer
from tests.parts.postgres import PostgresServer


def test_each_test_gets_an_empty_database_that_takes_tables(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    table = sa.Table("things", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))

    with engine.begin() as connection:
        before = sa.inspect(connection).get_table_names()
        table.create(connection)
        connection.execute(table.insert().values(id=1))
    engine.dispose()

    assert before == []


def test_a_database_is_dropped_even_when_somebody_is_still_connected(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        connection = engine.connect()

    with postgres_server.database() as other:
        assert other != url
    connection.invalidate()
    connection.close()


def test_the_object_store_keeps_what_it_is_given(minio_server: MinioServer) -> None:
    client, bucket = minio_server.client(), minio_server.new_bucket()

    client.put_object(bucket, "a/b", io.BytesIO(b"blob"), 4)

    with client.get_object(bucket, "a/b") as found:
        assert found.read() == b"blob"
