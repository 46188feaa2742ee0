"""A callback takes a run or the id of one, and refuses anything else where it is made."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import modelry
from modelry import Client
from modelry.errors import InvalidArgument

pytestmark = pytest.mark.usefixtures("fluent")

CALLBACKS: list[Callable[[Any], Any]] = [
    lambda run: modelry.optuna.ModelryCallback(run),
    lambda run: modelry.transformers.ModelryCallback(run),
]


@pytest.mark.parametrize("made", CALLBACKS)
@pytest.mark.parametrize("given", ["abc", "", "A" * 32, 5, SimpleNamespace(user_attrs={}), b"0" * 32])
def test_what_is_no_run_is_refused_where_the_callback_is_made(made: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"run must be a run, as of modelry\.start_run, or the id of a run: 32"):
        made(given)


@pytest.mark.parametrize("made", CALLBACKS)
def test_a_run_and_its_id_are_taken(made: Callable[[Any], Any], client: Client) -> None:
    with modelry.start_run() as run:
        pass

    for given in (None, run, run.run_id, client.runs.get(run.run_id)):
        made(given)


def test_the_trainer_logs_to_the_run_of_an_id_whose_status_stays(client: Client) -> None:
    with modelry.start_run() as run:
        pass
    callback = modelry.transformers.ModelryCallback(run.run_id)
    args = SimpleNamespace(run_name="", to_dict=lambda: {"epochs": 3})
    state = SimpleNamespace(is_world_process_zero=True, global_step=7, best_metric=None, best_model_checkpoint=None)

    callback.on_train_begin(args, state, None)
    callback.on_log(args, state, None, logs={"loss": 0.5})
    callback.on_train_end(args, state, None)
    modelry.flush(30)

    found = client.runs.get(run.run_id)
    assert (found.params["epochs"], found.metrics["loss"], found.status) == ("3", 0.5, "FINISHED")
    assert modelry.active_run() is None
