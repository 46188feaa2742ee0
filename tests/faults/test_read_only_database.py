"""PostgreSQL is read-only for a while, as in a failover: what training logs meanwhile is there afterwards, once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

import modelry
from modelry import Client
from modelry._sdk.fluent import session
from modelry._sdk.spooling.spool import left_in
from modelry_server.targets import ROOMS
from tests.parts import deployment as deployments
from tests.parts.postgres import PostgresServer

POINTS = 20_000
READ_ONLY_S = 6.0


def _set_read_only(url: str, setting: str) -> None:
    outside = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.execute(sa.text("SET default_transaction_read_only=off"))
        name = connection.execute(sa.text("SELECT current_database()")).scalar_one()
        connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only={setting}'))
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(sa.text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))
    outside.dispose()


def test_what_is_logged_while_the_database_only_reads_is_there_afterwards(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(spool))
    session.renew()
    with (
        postgres_server.database() as url,
        deployments.running("all", tmp_path / "platform", dict.fromkeys(ROOMS, url)) as platform,
    ):
        modelry.set_tracking_uri(platform.address)
        with modelry.start_run() as run:
            begin = time.monotonic()
            for step in range(POINTS):
                if step == POINTS // 4:
                    _set_read_only(url, "on")
                    begin = time.monotonic()
                if step == POINTS // 2:
                    assert not modelry.flush(READ_ONLY_S - (time.monotonic() - begin))
                    modelry.log_text("kept", "a.txt")
                    _set_read_only(url, "off")
                modelry.log_metric("m", 0.5, step=step)
            complete = modelry.flush(30)

        client = Client(platform.address)
        stored = client.runs.get(run.id)
        steps = list(client.metrics.read(run.id, "m").steps)
        text = client.artifacts.read_bytes(f"runs/{run.id}", "a.txt")
        log = platform.log("all")
    session.renew()

    assert complete
    assert (stored.status, steps, text) == ("FINISHED", list(range(POINTS)), b"kept")
    assert left_in(spool) == []
    assert "read-only" in log
    assert "rpc.failed" not in log
