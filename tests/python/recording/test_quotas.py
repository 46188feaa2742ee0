"""A workspace at its quota costs nothing of what is logged: it is told, kept, and sent when there is room."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import modelry
from modelry.errors import QuotaExceeded
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.quotas import set_quotas
from tests.python.recording.scripts import PATIENCE_S, start_again, use


def test_a_run_that_began_offline_waits_until_there_is_room_for_it(
    own_on_sqlite: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    client = use(own_on_sqlite)
    with modelry.start_run():
        modelry.log_metric("m", 1.0)
    set_quotas(own_on_sqlite, "default", run_count=1)
    own_on_sqlite.kill()
    with modelry.start_run() as run:
        modelry.log_metric("m", 2.0)
    with caplog.at_level(logging.WARNING, "modelry"):
        start_again(own_on_sqlite)

        at_the_quota = modelry.flush(2)
        refusals = [text for text in caplog.messages if "its run_count is 1, and the quota is 1" in text]
    set_quotas(own_on_sqlite, "default")
    eventually(lambda: modelry.flush(PATIENCE_S))

    assert not at_the_quota
    assert refusals
    assert client.runs.get(run.id).metrics == {"m": 2.0}


def test_a_run_that_begins_at_the_quota_says_so_at_once(own_on_sqlite: Deployment) -> None:
    use(own_on_sqlite)
    set_quotas(own_on_sqlite, "default", run_count=1)
    with modelry.start_run():
        pass

    with pytest.raises(QuotaExceeded, match="its run_count is 1, and the quota is 1"):
        modelry.start_run()


def test_a_file_for_which_there_is_no_room_is_told_kept_and_uploaded_when_there_is(
    own_on_sqlite: Deployment, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    client = use(own_on_sqlite)
    set_quotas(own_on_sqlite, "default", stored_bytes=10)
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_artifact(tmp_path / "weights.bin")
        modelry.log_metric("m", 1.0)
        at_the_quota = modelry.flush(2)

        set_quotas(own_on_sqlite, "default", stored_bytes=2000)
        eventually(lambda: modelry.flush(PATIENCE_S))

    assert not at_the_quota
    assert any("no room for 1000 more" in text and "a copy is kept in" in text for text in caplog.messages)
    assert [each.path for each in client.artifacts.list(f"runs/{run.id}")] == ["weights.bin"]
    assert client.runs.get(run.id).metrics == {"m": 1.0}
