"""MLflow's names for our types: they are views, and they live in one module."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelry._sdk.nouns.experiments import experiment_of
from modelry._sdk.nouns.mlflow_names import ActiveRunNames
from modelry._sdk.nouns.models import model_of
from modelry._sdk.nouns.runs import run_of
from modelry._sdk.nouns.versions import version_of
from modelry.api.common import v1 as common
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking

RUN = "0123456789abcdef0123456789abcdef"


def test_a_run_is_its_own_info_and_data() -> None:
    run = run_of(
        tracking.Run(
            run_id=RUN,
            name="ridge",
            claimed_user="ada",
            lifecycle=common.LIFECYCLE_DELETED,
            params={"lr": "0.1"},
            metrics=[tracking.MetricSummary(key="mse", last_value=0.5)],
        )
    )

    assert (run.info.run_id, run.info.run_name, run.id) == (RUN, "ridge", RUN)
    assert (run.info.user_id, run.info.lifecycle_stage, run.info.artifact_uri) == ("ada", "deleted", f"runs:/{RUN}")
    assert (run.data.params, run.data.metrics) == ({"lr": "0.1"}, {"mse": 0.5})


def test_an_active_run_reads_itself_for_its_data() -> None:
    class Running(ActiveRunNames):
        run_id, name = RUN, "ridge"

        def read(self) -> str:
            return "what the server has"

    running = Running()

    assert (running.info.run_id, running.info.run_name, running.id) == (RUN, "ridge", RUN)
    assert running.data == "what the server has"


def test_a_version_has_the_names_of_a_model_version() -> None:
    message = registry.Version(
        model_name="bikes", version_number=3, stage="Staging", state=registry.VERSION_STATE_READY, creator="ada"
    )
    message.create_time.FromMilliseconds(1_700_000_000_123)

    version = version_of(message)

    assert (version.name, version.version, version.current_stage) == ("bikes", 3, "Staging")
    assert (version.status, version.user_id) == ("READY", "ada")
    assert (version.creation_timestamp, version.last_updated_timestamp) == (1_700_000_000_123, None)


def test_times_of_experiments_and_models_are_milliseconds() -> None:
    experiment, model = tracking.Experiment(lifecycle=common.LIFECYCLE_ACTIVE), registry.Model()
    for message in (experiment, model):
        message.create_time.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
        message.update_time.FromDatetime(datetime(2026, 1, 3, tzinfo=UTC))

    found, made = experiment_of(experiment), model_of(model)

    assert (found.creation_time, found.last_update_time) == (1_767_312_000_000, 1_767_398_400_000)
    assert (made.creation_timestamp, made.last_updated_timestamp) == (1_767_312_000_000, 1_767_398_400_000)
    assert found.lifecycle_stage == "active"


def test_the_names_can_not_be_set_and_are_not_fields() -> None:
    version = version_of(registry.Version(version_number=3))

    with pytest.raises((AttributeError, TypeError)):
        version.version = 4  # type: ignore[misc]
    assert "current_stage" not in repr(version)
