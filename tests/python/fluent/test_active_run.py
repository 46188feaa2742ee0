from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import modelry
from modelry import ActiveRun, Client, RunStatus
from modelry._sdk.fluent import session
from modelry._sdk.recording.recorder import Recorder
from modelry._sdk.transport.connection import connect
from modelry._sdk.transport.settings import read
from modelry.errors import ExperimentDeleted, FailedPrecondition, InvalidArgument, NotFound, PathInvalid, RunNotFound
from tests.parts.deployment import Deployment


@pytest.fixture(autouse=True)
def experiment_id(fluent: None, unique: str) -> str:
    found = modelry.set_experiment(unique)
    assert found is not None
    return found.experiment_id


def test_what_training_code_logs_is_what_the_server_has(client: Client, experiment_id: str, unique: str) -> None:
    with modelry.start_run(run_name="first", tags={"team": "vision"}, description="a try") as run:
        assert modelry.log_param("lr", 0.1) == 0.1
        modelry.log_params({"depth": 3, "name": "tree"})
        for step in range(3):
            modelry.log_metric("loss", 1 / (step + 1), step=step)
        modelry.log_metrics({"acc": 0.5, "f1": 0.25}, step=9, timestamp=1_000)
        modelry.set_tag("colour", "red")
        modelry.set_tags({"colour": "blue", "size": 1})

    stored = modelry.get_run(run.info.run_id)
    assert (stored.name, stored.status, stored.experiment_id) == ("first", "FINISHED", experiment_id)
    assert stored.description == "a try"
    assert stored.params == {"lr": "0.1", "depth": "3", "name": "tree"}
    assert stored.metrics == {"loss": 1 / 3, "acc": 0.5, "f1": 0.25}
    assert stored.summaries["acc"].last_time_ms == 1_000
    assert stored.tags.items() >= {"colour": "blue", "size": "1", "team": "vision"}.items()
    assert list(client.metrics.read(run.id, "loss").steps) == [0, 1, 2]
    assert stored.end_time is not None
    assert stored.start_time is not None
    assert stored.start_time <= stored.end_time <= datetime.now(UTC)


def test_a_run_says_who_runs_what_where() -> None:
    with modelry.start_run() as run:
        pass

    tags = modelry.get_run(run.id).tags
    assert {"modelry.user", "modelry.host", "modelry.python", "modelry.source.name"} <= set(tags)
    assert len(tags["modelry.source.git.commit"]) == 40


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(0), "FINISHED"), (SystemExit(2), "FAILED")],
)
def test_a_run_ends_as_its_block_ends(error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), modelry.start_run() as run:
        raise error

    assert run.status == status
    assert modelry.get_run(run.id).status == status
    assert modelry.active_run() is None


def test_a_second_run_must_be_nested() -> None:
    with modelry.start_run() as outer:
        with pytest.raises(FailedPrecondition, match=rf"{outer.id}.*end_run.*nested=True") as refused:
            modelry.start_run()
        with modelry.start_run(nested=True) as inner:
            assert modelry.active_run() is inner
        assert modelry.active_run() is outer

    assert refused.value.reason == "RUN_IS_ACTIVE"
    assert modelry.get_run(inner.id).parent_run_id == outer.id
    assert modelry.active_run() is None


def test_logging_without_a_run_starts_one() -> None:
    modelry.log_metric("a", 1.0)
    run = modelry.active_run()
    modelry.end_run("KILLED")

    assert run is not None
    last = modelry.last_active_run()
    assert last is not None
    assert (last.run_id, last.status, last.metrics) == (run.id, "KILLED", {"a": 1.0})


def test_a_run_goes_on_where_it_ended() -> None:
    with modelry.start_run() as run:
        modelry.log_metric("a", 1.0, step=1)
    with modelry.start_run(run_id=run.id) as again:
        during = modelry.get_run(run.id).status
        modelry.log_metric("a", 2.0, step=2)

    assert again.id == run.id
    assert during is RunStatus.RUNNING
    assert modelry.get_run(run.id).summaries["a"].point_count == 2
    with pytest.raises(RunNotFound):
        modelry.start_run(run_id="f" * 32)


def test_another_run_is_logged_to_by_its_id(client: Client) -> None:
    other = client.runs.create().run_id
    with modelry.start_run() as run:
        modelry.log_metric("a", 1.0, run_id=other)
        modelry.log_metrics({"b": 2.0}, run_id=other)
        modelry.log_params({"p": 1}, run_id=other)
        modelry.set_tags({"t": 2}, run_id=other)
        modelry.log_text("hello", "a.txt", run_id=other)

    stored = modelry.get_run(other)
    assert (stored.metrics, stored.params, stored.tags["t"]) == ({"a": 1.0, "b": 2.0}, {"p": "1"}, "2")
    assert client.artifacts.read_bytes(f"runs/{other}", "a.txt") == b"hello"
    assert modelry.get_run(run.id).metrics == {}


def test_a_thread_logs_to_the_run_of_the_loop_and_may_have_its_own() -> None:
    seen: dict[str, Any] = {}

    def helper() -> None:
        seen["shared"] = modelry.active_run()
        modelry.log_metric("helper", 1.0)
        with modelry.start_run() as own:
            seen["own"] = own
            modelry.log_metric("own", 1.0)

    with modelry.start_run() as run:
        thread = threading.Thread(target=helper)
        thread.start()
        thread.join()
        assert modelry.active_run() is run

    assert seen["shared"] is run
    assert modelry.get_run(run.id).metrics == {"helper": 1.0}
    assert modelry.get_run(seen["own"].id).metrics == {"own": 1.0}


def test_the_run_that_a_thread_left_open_takes_nothing_of_another_thread() -> None:
    left: list[ActiveRun] = []
    thread = threading.Thread(target=lambda: left.append(modelry.start_run()))
    thread.start()
    thread.join()
    assert modelry.active_run() is None
    modelry.log_metric("a", 1.0)
    own = modelry.active_run()
    modelry.end_run()
    left[0].end()

    assert own is not None
    assert modelry.get_run(own.id).metrics == {"a": 1.0}
    assert modelry.get_run(left[0].id).metrics == {}


RUNS_OF_THREADS = """
import threading
import modelry

def work():
    run = modelry.start_run()
    modelry.log_metric("a", 1.0)
    print(run.id)

for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def test_runs_that_threads_left_open_end_with_the_process(platform: Deployment) -> None:
    environment = {**os.environ, "MODELRY_TRACKING_URI": platform.address}
    script = subprocess.run(
        [sys.executable, "-c", RUNS_OF_THREADS], capture_output=True, text=True, timeout=60, env=environment, check=True
    )

    runs = [modelry.get_run(run_id) for run_id in script.stdout.split()]
    assert [(run.status, run.metrics) for run in runs] == [("FINISHED", {"a": 1.0})] * 3


def test_a_param_with_another_value_is_warned_of_and_the_rest_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_param("lr", 0.1)
        modelry.flush()
        modelry.log_params({"lr": 0.2, "seed": 7})
        modelry.log_metric("a", 1.0)

    stored = modelry.get_run(run.id)
    assert (stored.params, stored.metrics, stored.status) == ({"lr": "0.1", "seed": "7"}, {"a": 1.0}, "FINISHED")
    assert len([text for text in caplog.messages if "'0.1'" in text and "'0.2'" in text]) == 1


def test_each_key_whose_values_are_lost_is_warned_of_and_counted(
    caplog: pytest.LogCaptureFixture, platform: Deployment
) -> None:
    recorder = Recorder(connect(platform.address), "default", read())
    with caplog.at_level(logging.WARNING, "modelry"):
        buffer = recorder.buffer(Client().runs.create().run_id)
        for key in ("skipped", "auc", "auc", "auc", *(f"many{number}" for number in range(30))):
            buffer.log_metric(key, None)  # type: ignore[arg-type]
        buffer.log_params({"lr": 1})
        recorder.flush()
        buffer.log_params({"lr": 2})
        recorder.flush()
        buffer.log_params({"lr": 3})
        recorder.close(5)

    shown = [text for text in caplog.messages if text.startswith("not recorded: metric")]
    (metrics,) = [text for text in caplog.messages if text.startswith("not recorded in total, metric")]
    (params,) = [text for text in caplog.messages if text.startswith("not recorded in total, param")]
    assert "'skipped'" in shown[0]
    assert "'auc'" in shown[1]
    assert len(shown) == 20
    assert "'skipped' 1 time, 'auc' 3 times, 'many0' 1 time," in metrics
    assert metrics.endswith("others 12 times")
    assert params.endswith(f"(PARAM_CONFLICT) of run {buffer.run_id}: 'lr' 2 times")


def test_a_time_that_is_none_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_metric("ts", 1, timestamp="now")  # type: ignore[arg-type]
        modelry.log_metrics({"ts": 1}, timestamp="now")  # type: ignore[arg-type]
        run.log_metric("ts", 1, timestamp="now")  # type: ignore[arg-type]

    assert modelry.get_run(run.id).metrics == {}
    assert [text for text in caplog.messages if "time 'now'" in text]


def test_a_refused_metric_takes_no_other_with_it(client: Client) -> None:
    with modelry.start_run() as run:
        modelry.log_metrics({"a": 1.0, "bad\x07key": 2.0, "b": 3.0}, step=1)
        modelry.flush()
        modelry.log_metrics({"a": 2.0, "b": 4.0}, step=2)

    assert modelry.get_run(run.id).metrics == {"a": 2.0, "b": 4.0}
    assert {series.key: list(series.steps) for _, series in client.metrics.read_many([run.id])} == {
        "a": [1, 2],
        "b": [1, 2],
    }


def test_a_tag_is_removed() -> None:
    with modelry.start_run() as run:
        modelry.set_tags({"a": 1, "b": 2})
        modelry.delete_tag("a")

    tags = modelry.get_run(run.id).tags
    assert ("a" in tags, tags["b"]) == (False, "2")


def test_inputs_are_logged_with_what_they_were_for(unique: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [1, 2, 3]})
    with modelry.start_run() as run:
        modelry.log_input(modelry.data.from_pandas(frame, source="/tmp/x.csv", name=unique), context="training")

    used = modelry.get_run(run.id).datasets
    assert [(each.dataset.name, each.dataset.source, each.context) for each in used] == [
        (unique, "/tmp/x.csv", "training")
    ]
    found = modelry.search_runs(filter_string=f"datasets.name = '{unique}'", output_format="list")
    assert [each.run_id for each in found] == [run.id]


def test_files_of_all_kinds_are_where_they_were_put(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image

    monkeypatch.setenv("MODELRY_SNAPSHOT", "0")
    (tmp_path / "reports" / "deep").mkdir(parents=True)
    (tmp_path / "reports" / "deep" / "a.txt").write_text("a")
    figure = Figure()
    figure.add_subplot().plot([1, 2, 3])
    with modelry.start_run() as run:
        modelry.log_artifact(tmp_path / "reports" / "deep" / "a.txt")
        modelry.log_artifact(tmp_path / "reports", "all")
        modelry.log_artifacts(tmp_path / "reports", "inside")
        modelry.log_text("grüße", "texts/hello.txt")
        modelry.log_dict({"a": [1, {"b": None}]}, "texts/a.json")
        modelry.log_figure(figure, "plots/line.png")
        modelry.log_image(np.zeros((4, 4, 3)), "pictures/black.png")
        modelry.log_image(Image.new("RGB", (2, 2)), key="sample", step=3)

    owner = f"runs/{run.id}"
    paths = [artifact.path for artifact in client.artifacts.list(owner, recursive=True)]
    assert [re.sub(r"/sample-step-3-\d+-\w{6}\.png", "/<sample>", path) for path in paths] == [
        "a.txt",
        "all/reports/deep/a.txt",
        "images/<sample>",
        "inside/deep/a.txt",
        "pictures/black.png",
        "plots/line.png",
        "texts/a.json",
        "texts/hello.txt",
    ]
    assert client.artifacts.read_bytes(owner, "texts/hello.txt").decode() == "grüße"
    assert client.artifacts.read_bytes(owner, "texts/a.json").startswith(b"{")
    assert client.artifacts.read_bytes(owner, "plots/line.png").startswith(b"\x89PNG")
    assert client.artifacts.read_bytes(owner, "pictures/black.png").startswith(b"\x89PNG")


def test_a_picture_with_transparency_becomes_a_jpeg_without(client: Client) -> None:
    with modelry.start_run() as run:
        modelry.log_image([[[255, 0, 0, 128]]], "a.jpg")

    assert client.artifacts.read_bytes(f"runs/{run.id}", "a.jpg").startswith(b"\xff\xd8\xff")


def test_what_cant_be_an_artifact_is_refused(tmp_path: Path) -> None:
    with modelry.start_run():
        with pytest.raises(FileNotFoundError):
            modelry.log_artifact(tmp_path / "nothing")
        with pytest.raises(NotADirectoryError):
            modelry.log_artifacts(__file__)
        with pytest.raises(PathInvalid):
            modelry.log_text("x", "../up.txt")
        with pytest.raises(InvalidArgument, match="path of its file or a key"):
            modelry.log_image([[0]])


def test_what_the_server_refuses_of_files_is_told_and_not_raised(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    with modelry.start_run() as run:
        modelry.log_text("x", "kind")
        modelry.log_text("x", "kind/b")
        modelry.log_artifacts(tmp_path)
        client.runs.delete(run.run_id)
        modelry.log_text("x", "late.txt")

    told = [text for text in caplog.messages if "not recorded: file " in text]
    assert len(told) == 2
    assert ["kind" in told[0], "dangling" in told[1]] == [True] * 2
    assert [text for text in caplog.messages if "is deleted" in text and "a copy is kept" in text]


def test_runs_are_found_as_a_table_or_a_list(experiment_id: str) -> None:
    for number in range(3):
        with modelry.start_run(run_name=f"r{number}"):
            modelry.log_param("number", number)
            modelry.log_metric("acc", number / 10)

    table = modelry.search_runs(filter_string="metrics.acc > 0", order_by=["metrics.acc DESC"])
    runs = modelry.search_runs([experiment_id], output_format="list", max_results=2)

    assert list(table["metrics.acc"]) == [0.2, 0.1]
    assert list(table["params.number"]) == ["2", "1"]
    assert list(table["run_name"]) == ["r2", "r1"]
    assert str(table["start_time"].dtype).endswith("UTC]")
    assert [run.name for run in runs] == ["r2", "r1"]
    assert len(modelry.search_runs(run_view_type=2)) == 0


def test_experiments_are_made_chosen_and_found(unique: str) -> None:
    made = modelry.create_experiment(f"{unique}-b", tags={"a": "b"})
    with modelry.start_run(experiment_id=made) as run:
        pass

    assert modelry.get_experiment(made).tags == {"a": "b"}
    assert modelry.get_experiment_by_name(f"{unique}-c") is None
    assert run.experiment_id == made
    found = modelry.search_experiments(filter_string=f"name LIKE '{unique}%'", order_by=["name"])
    assert [experiment.name for experiment in found] == [unique, f"{unique}-b"]
    with pytest.raises(NotFound):
        modelry.set_experiment(experiment_id="987654321")


def test_a_deleted_run_is_gone_from_what_is_found() -> None:
    with modelry.start_run() as run:
        pass
    modelry.delete_run(run.id)

    assert len(modelry.search_runs(output_format="list")) == 0
    assert modelry.get_run(run.id).lifecycle == "DELETED"


def test_the_tracking_uri_is_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    modelry.set_tracking_uri("grpc://127.0.0.1:7000")
    chosen = (modelry.get_tracking_uri(), modelry.get_registry_uri())
    modelry.set_tracking_uri("")
    monkeypatch.setenv("MODELRY_TRACKING_URI", "grpc://127.0.0.1:7001")

    assert chosen[0] == "grpc://127.0.0.1:7000"
    assert modelry.get_tracking_uri() == "grpc://127.0.0.1:7001"
    with pytest.raises(InvalidArgument):
        modelry.set_tracking_uri("http://127.0.0.1:5000")


def test_what_names_an_experiment_may_be_a_number(unique: str, experiment_id: str) -> None:
    with modelry.start_run(experiment_id=0, run_name=5) as first:  # type: ignore[arg-type]
        pass
    chosen = modelry.set_experiment(experiment_id=int(experiment_id))
    made = modelry.create_experiment(f"{unique}-2", tags={"x": 1})
    with modelry.start_run(experiment_id=int(made)) as second:
        pass

    assert (first.experiment_id, modelry.get_run(first.id).name, second.experiment_id) == ("0", "5", made)
    assert chosen is not None
    assert (chosen.experiment_id, modelry.get_experiment(0).experiment_id) == (experiment_id, "0")
    assert modelry.get_experiment(made).tags == {"x": "1"}
    assert modelry.search_runs(int(made), output_format="list")[0].run_id == second.id
    assert modelry.search_runs(experiment_names=f"{unique}-2", output_format="list")[0].run_id == second.id


def test_a_number_is_no_name_of_an_experiment(experiment_id: str) -> None:
    with pytest.raises(InvalidArgument, match=f"pass experiment_id={experiment_id}$"):
        modelry.set_experiment(int(experiment_id))  # type: ignore[arg-type]


def test_an_experiment_of_another_workspace_is_not_chosen(client: Client, unique: str, platform: Deployment) -> None:
    client.workspaces.create(f"ws-{unique}")
    made = Client(platform.address, f"ws-{unique}").experiments.create("freight").experiment_id

    with pytest.raises(InvalidArgument, match=f"'ws-{unique}' and not in 'default'; set MODELRY_WORKSPACE=ws-"):
        modelry.set_experiment(experiment_id=made)


def test_an_experiment_of_another_workspace_in_the_environment_is_warned_of_once(
    client: Client,
    unique: str,
    platform: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.workspaces.create(f"ws-{unique}")
    made = Client(platform.address, f"ws-{unique}").experiments.create("freight").experiment_id
    session.renew()
    monkeypatch.setenv("MODELRY_EXPERIMENT_ID", made)

    with caplog.at_level(logging.WARNING, "modelry"):
        for _ in range(2):
            with modelry.start_run() as run:
                modelry.log_metric("a", 1.0)

    told = [text for text in caplog.messages if f"is in the workspace 'ws-{unique}' and not in 'default'" in text]
    assert len(told) == 1
    assert modelry.get_run(run.id).metrics == {"a": 1.0}


def test_a_deleted_experiment_is_not_chosen(client: Client, unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = client.experiments.create(f"{unique}-gone").experiment_id
    client.experiments.delete(made)

    with pytest.raises(ExperimentDeleted, match=f"{unique}-gone"):
        modelry.set_experiment(f"{unique}-gone")
    with pytest.raises(ExperimentDeleted, match=f"{unique}-gone"):
        modelry.set_experiment(experiment_id=made)
    session.renew()
    monkeypatch.setenv("MODELRY_EXPERIMENT_NAME", f"{unique}-gone")
    with pytest.raises(ExperimentDeleted, match=f"{unique}-gone") as deleted:
        modelry.start_run()
    assert deleted.value.metadata["experiment_id"] == made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"run_view_type": 9}, "run_view_type must be ACTIVE, .*, not 9"),
        ({"run_view_type": None}, "run_view_type must be ACTIVE, .*, not None"),
        ({"max_results": 2.5}, "max_results must be .*, not 2.5"),
        ({"max_results": -1}, "max_results must be .*, not -1"),
        ({"output_format": "json"}, "output_format must be 'pandas' or 'list', not 'json'"),
        ({"order_by": [None]}, "order_by must be .*, not None"),
        ({"experiment_ids": [None]}, "experiment_ids must be .*, not None"),
    ],
)
def test_an_argument_of_a_search_that_cant_be_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        modelry.search_runs(**arguments)


def test_code_that_asks_for_info_and_data_goes_on_working(experiment_id: str) -> None:
    with modelry.start_run(run_name="old") as run:
        modelry.log_metric("m", 1.0)
        during = run.data
    after = modelry.get_run(run.id)

    assert (run.info.run_id, run.info.experiment_id, run.info.run_name) == (run.id, experiment_id, "old")
    assert (during.metrics, during.data.params) == ({"m": 1.0}, {})
    assert (after.info.user_id, after.info.lifecycle_stage) == (after.claimed_user, "active")
    assert after.info.artifact_uri == run.info.artifact_uri == f"runs:/{run.id}"
    modelry.delete_run(run.id)
    assert modelry.get_run(run.id).info.lifecycle_stage == "deleted"
