"""Whatever value training code logs, it is recorded right or told, and raises nothing."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import modelry
from modelry import Client, RunStatus
from modelry.errors import InvalidArgument
from modelry.types import Dataset


@pytest.fixture(autouse=True)
def experiment_id(fluent: None, unique: str) -> str:
    found = modelry.set_experiment(unique)
    assert found is not None
    return found.experiment_id


def test_what_is_no_text_is_converted_and_stops_no_training(client: Client) -> None:
    number: Any = 5
    with modelry.start_run(run_name=number, description=number, tags={number: "\udc80"}) as run:
        modelry.delete_tag(number)
        modelry.log_input(Dataset(name=number, digest=number), number)
        modelry.log_text(number, number)
    with modelry.start_run(run_id=run.run_id, description="\udc80"):
        pass

    found = client.runs.get(run.run_id)
    assert (found.name, found.description) == ("5", "\\udc80")
    assert [(each.dataset.name, each.dataset.digest, each.context) for each in found.datasets] == [("5", "5", "5")]
    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "5") == b"5"


def test_what_is_no_number_is_warned_of_once_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        for _ in range(3):
            modelry.log_metric("a", "high")  # type: ignore[arg-type]
        modelry.log_metric("a", 1.0)

    assert modelry.get_run(run.id).metrics == {"a": 1.0}
    assert len([text for text in caplog.messages if "'high'" in text]) == 1


@pytest.mark.parametrize(
    ("log_it", "said"),
    [
        (lambda: modelry.log_image([[0]], "a.txt"), "use the extension .png or .jpg"),
        (lambda: modelry.log_image([[[0, 0]], [[0, 0]]], "a.png"), "an image array has the shape"),
        (lambda: modelry.log_image("no image", key="k"), "an image array"),
        (lambda: modelry.log_figure("no figure", "a.png"), "a figure or axes of Matplotlib"),
        (lambda: modelry.log_dict({1: "a", "1": "b"}, "a.json"), "two keys of a dictionary are '1' as text"),
        (lambda: modelry.log_input(object()), "modelry.data.from_pandas"),
    ],
)
def test_a_value_that_cant_be_recorded_is_told_and_raises_nothing(
    caplog: pytest.LogCaptureFixture, client: Client, log_it: Callable[[], None], said: str
) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        log_it()
        delivered = modelry.flush(20)

    assert delivered is False
    assert [text for text in caplog.messages if text.startswith("not recorded:") and said in text]
    assert list(client.artifacts.list(f"runs/{run.id}", recursive=True)) == []


class Unsayable(Exception):
    """An error that can't be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Broken:
    """An object of which nothing works, and whose errors can't be shown."""

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise Unsayable

    __float__ = __index__ = __repr__ = __str__ = __array__ = keys = items = savefig = save = _fail


@pytest.mark.parametrize(
    "log",
    [
        lambda broken: modelry.log_metric("a", broken),
        lambda broken: modelry.log_metric("a", 1, step=broken),
        lambda broken: modelry.log_metric("a", 1, timestamp=broken),
        lambda broken: modelry.log_metric("a", 1, run_id=broken),
        lambda broken: modelry.log_metric("a", 10**5000),
        lambda broken: modelry.log_metric("a", 1, step=10**5000),
        lambda broken: modelry.log_metric("a", 1, timestamp=10**400),
        lambda broken: modelry.log_metrics(broken),
        lambda broken: modelry.log_params(broken),
        lambda broken: modelry.set_tags(broken),
        lambda broken: modelry.log_dict(broken, "a.json"),
        lambda broken: modelry.log_figure(broken, "a.png"),
        lambda broken: modelry.log_image(broken, "a.png"),
        lambda broken: modelry.log_image(broken, broken),
        lambda broken: modelry.log_input(broken),
    ],
)
def test_what_can_not_even_be_shown_is_told_and_raises_nothing(
    log: Callable[[Any], object], caplog: pytest.LogCaptureFixture
) -> None:
    broken: Any = Broken()
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run():
        log(broken)
        assert modelry.flush() is False

    assert any("not recorded" in text for text in caplog.messages)


@pytest.mark.parametrize("status", ["RUNNING", "scheduled", RunStatus.RUNNING, "DONE", None])
def test_a_run_is_not_ended_by_what_is_no_end_and_goes_on(status: Any) -> None:
    run = modelry.start_run()
    with pytest.raises(InvalidArgument, match="status"):
        modelry.end_run(status)
    modelry.log_metric("later", 1)
    modelry.end_run("killed")

    stored = modelry.get_run(run.id)
    assert (stored.status, stored.metrics) == (RunStatus.KILLED, {"later": 1})


class Lazy(dict[str, Any]):
    """A configuration that reads a value when it is asked for, as OmegaConf does: `???` is one that is missing."""

    def __getitem__(self, key: str) -> Any:
        if (value := super().__getitem__(key)) == "???":
            raise ValueError("Missing mandatory value")
        return value

    def items(self) -> Any:
        return ((key, self[key]) for key in self)


@dataclass
class Derived:
    """A configuration with a value that can't be computed."""

    lr: float = 0.1
    steps: int = field(init=False)


def test_a_value_that_is_missing_in_a_configuration_is_named_and_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_params(Lazy(lr=0.1, path="???", depth=3))
        modelry.log_params(Derived(lr=0.1))  # type: ignore[arg-type]
        modelry.log_metrics(Lazy(loss=1.0, accuracy="???"))
        modelry.log_dict(Lazy(lr=0.1, folder="???"), "a.json")

    stored = modelry.get_run(run.id)
    assert (stored.params, stored.metrics) == ({"lr": "0.1", "depth": "3"}, {"loss": 1.0})
    told = [text for text in caplog.messages if "not recorded" in text]
    assert "params: the value of 'path' can't be read: Missing mandatory value" in told[0]
    assert "params: the value of 'steps' can't be read: 'Derived' object has no attribute 'steps'" in told[1]
    assert "metrics: the value of 'accuracy' can't be read" in told[2]
    assert "file 'a.json': the value of 'folder' can't be read: Missing mandatory value" in told[3]


def test_every_image_of_a_key_and_a_step_is_kept(client: Client) -> None:
    import numpy as np

    steps = [0, 1, 9, 10, 19, 25, 99, 100, 255, 2500, None, 10**6]
    keys = ["a", "val/faces", "val 50%2F", "100%", "back\\slash", "..", "", "é" * 300, "a\nb", 7, "a:b*?"]
    with modelry.start_run() as run:
        for step in steps:
            modelry.log_image(np.zeros((2, 2)), key="a", step=step)
        for key in keys:
            modelry.log_image(np.zeros((2, 2)), key=key, step=1)  # type: ignore[arg-type]

    assert len(client.artifacts.list(f"runs/{run.id}", "images")) == len(steps) + len(keys)


def test_each_conflict_of_params_is_named_and_equal_numbers_are_none(caplog: pytest.LogCaptureFixture) -> None:
    with modelry.start_run() as run:
        run.log_params({f"p{number}": "before" for number in range(30)} | {"epochs": 10, "rate": "1e-3"})
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run(run_id=run.id):
        modelry.log_params({f"p{number}": "after" for number in range(30)} | {"epochs": 10.0, "rate": 0.001})

    named = [number for number in range(30) if any(f"'p{number}'" in text for text in caplog.messages)]
    assert named == list(range(30))
    assert not [text for text in caplog.messages if "'epochs'" in text or "'rate'" in text]


def test_a_sort_key_that_no_run_has_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for accuracy in (0.5, 0.9):
        with modelry.start_run():
            modelry.log_metric("accuracy", accuracy)
            modelry.log_param("depth", 3)
    with caplog.at_level(logging.WARNING, "modelry"):
        list(modelry.search_runs(order_by=["metrics.accuracy DESC", "params.depth"], output_format="list"))
        before = list(caplog.messages)
        list(modelry.search_runs(order_by=["metrics.`acuracy` DESC", "tags.x"], output_format="list"))
    told = [message for message in caplog.messages if "order_by" in message]

    assert not any("order_by" in message for message in before)
    assert len(told) == 2
    assert "metrics.acuracy" in told[0]
    assert "is metrics.accuracy meant?" in told[0]


@pytest.mark.parametrize("again", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy])
def test_a_client_and_a_run_can_be_pickled_and_copied(again: Callable[[Any], Any], client: Client) -> None:
    with modelry.start_run() as run:
        run.log_metric("a", 1.0)
        other, server = again(run), again(client)
        other.log_metric("b", 2.0)
        modelry.flush(20)

        assert server.runs.get(run.id).metrics == {"a": 1.0, "b": 2.0}
        assert again(server.runs).get(run.id).run_id == other.run_id == run.id
        read = server.runs.get(run.id)  # once, since tags of the environment may come meanwhile
        assert again(read) == read


def test_a_filter_by_a_tag_of_mlflow_that_is_a_field_here_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with modelry.start_run() as parent, modelry.start_run(nested=True):
        pass
    with caplog.at_level(logging.WARNING, "modelry"):
        for key in ("tags.mlflow.parentRunId", "tags.`mlflow.parentRunId`", "tag.`mlflow.runName`"):
            assert len(modelry.search_runs(filter_string=f"{key} = '{parent.run_id}'", output_format="list")) == 0
        assert len(modelry.search_runs(filter_string=f"parent_run_id = '{parent.run_id}'", output_format="list")) == 1

    told = [text for text in caplog.messages if text.startswith("filter: ")]
    assert len(told) == 3
    assert "write parent_run_id = '…'" in told[0]
    assert "write name = '…'" in told[2]
