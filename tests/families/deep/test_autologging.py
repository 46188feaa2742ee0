"""What autologging records of frameworks for deep learning."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import lightning
import numpy as np
import pytest
import pytorch_lightning
import torch

import modelry
from modelry import Client, RunStatus
from modelry.types import Run
from tests.families.deep import autologged
from tests.families.deep.autologged import batches, hugging_face_trainer, keras_model, lightning_module
from tests.families.tabular.autologged import on_the_page, table

pytestmark = [
    pytest.mark.usefixtures("off_again"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    # Lightning advises on loaders with more processes, and uses old names of PyTorch.
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.. is deprecated"),
]
FEATURES = np.random.default_rng(1).random((12, 3), dtype=np.float32)


@pytest.fixture
def off_again(fluent: None) -> Iterator[None]:
    yield
    modelry.flush()
    modelry.autolog(disable=True)


def last() -> Run:
    found = modelry.last_active_run()
    assert found is not None
    return found


def files_of(client: Client, run: Run) -> set[str]:
    return {each.path for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}


def points(client: Client, run: Run, key: str) -> dict[int, float]:
    series = client.metrics.read(run.run_id, key)
    return dict(zip(series.steps, series.values, strict=True))


def trainer_of(package: Any, folder: Path, callbacks: Any = None, **options: Any) -> Any:
    return autologged.lightning_trainer(package, str(folder), callbacks, enable_checkpointing=False, **options)


def test_the_page_has_what_is_recorded() -> None:
    assert table(autologged.FITS) == on_the_page("deep")


@pytest.mark.parametrize("package", [lightning, pytorch_lightning], ids=["lightning", "pytorch_lightning"])
def test_metrics_of_lightning_have_the_step_or_the_epoch(package: Any, client: Client, tmp_path: Path) -> None:
    modelry.pytorch.autolog(log_models=False, log_every_n_step=3)
    mine: list[Any] = [package.pytorch.callbacks.Timer() if package is lightning else package.callbacks.Timer()]
    given = list(mine)
    trainer = trainer_of(package, tmp_path, mine, max_epochs=2)
    before = trainer.callbacks

    trainer.fit(lightning_module(package), batches(), batches())

    run = last()
    assert run.params["lr"] == "0.1"
    assert (run.params["optimizer_name"], run.params["epochs"]) == ("SGD", "2")
    assert points(client, run, "step_only") == {3: 2.0, 4: 3.0, 6: 5.0, 8: 7.0}
    assert list(points(client, run, "loss_step")) == [3, 4, 6, 8]
    assert points(client, run, "epochs_done") == {0: 1.0, 1: 2.0}
    assert list(points(client, run, "loss_epoch")) == [0, 1]
    assert list(points(client, run, "val_loss")) == [0, 1]
    assert run.metrics["val_loss"] == pytest.approx(float(trainer.callback_metrics["val_loss"]))
    assert mine == given
    assert trainer.callbacks is before


def test_several_validations_in_an_epoch_have_the_step(client: Client, tmp_path: Path) -> None:
    modelry.pytorch.autolog(log_models=False)
    trainer = trainer_of(lightning, tmp_path, max_epochs=2, val_check_interval=2)

    trainer.fit(lightning_module(lightning), batches(), batches())

    assert list(points(client, last(), "val_loss")) == [2, 4, 6, 8]


def test_a_lightning_module_and_its_best_checkpoint_are_logged(client: Client, tmp_path: Path) -> None:
    modelry.pytorch.autolog()
    best = lightning.pytorch.callbacks.ModelCheckpoint(dirpath=tmp_path, monitor="val_loss")
    stop = lightning.pytorch.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=10.0)
    trainer = autologged.lightning_trainer(lightning, str(tmp_path), [best, stop], max_epochs=4)
    model = lightning_module(lightning)

    trainer.fit(model, batches(), batches())

    run = last()
    assert run.metrics["stopped_epoch"] == trainer.early_stopping_callback.stopped_epoch == 1
    assert run.metrics["best_model_score"] == pytest.approx(float(best.best_model_score))
    assert (run.params["monitor"], run.params["patience"]) == ("val_loss", "1")
    assert f"checkpoints/{Path(best.best_model_path).name}" in files_of(client, run)
    assert b"Linear" in client.artifacts.read_bytes(f"runs/{run.run_id}", "model_summary.txt")
    loaded: Any = modelry.pyfunc.load_model(f"runs:/{run.run_id}/model")
    assert str(loaded.metadata.signature.inputs) == "[Tensor('float32', (-1, 3))]"
    assert loaded.predict(FEATURES) == pytest.approx(model(torch.as_tensor(FEATURES)).detach().numpy())
    assert model.training
    assert model.example_input_array is not None


def test_a_training_of_lightning_is_the_same_as_without_autologging(tmp_path: Path) -> None:
    def trained() -> list[Any]:
        lightning.seed_everything(1, verbose=False)
        model = lightning_module(lightning)
        trainer_of(lightning, tmp_path, max_epochs=2).fit(model, batches(), batches())
        after = random.random(), float(np.random.default_rng().random() * 0 + np.random.rand()), float(torch.rand(1))
        return [*model.layer.weight.flatten().tolist(), *after]

    expected = trained()
    modelry.autolog()

    assert trained() == expected


def test_a_training_of_lightning_that_raises_fails_its_run(tmp_path: Path) -> None:
    modelry.pytorch.autolog()
    model = lightning_module(lightning)
    trainer = trainer_of(lightning, tmp_path, max_epochs=1)
    before = trainer.callbacks
    problem = ZeroDivisionError("in the model")

    def fail(*_: Any) -> None:
        raise problem

    model.training_step = fail
    with pytest.raises(ZeroDivisionError) as raised:
        trainer.fit(model, batches())

    assert raised.value is problem
    assert last().status is RunStatus.FAILED
    assert trainer.callbacks is before


def test_the_callback_of_lightning_goes_to_other_processes(client: Client, tmp_path: Path) -> None:
    modelry.pytorch.autolog(log_models=False)
    copies: list[Any] = []

    class Copied(lightning.Callback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            copies.extend(pickle.loads(pickle.dumps(trainer.callbacks[:1])))

    trainer_of(lightning, tmp_path, [Copied()], max_epochs=1).fit(lightning_module(lightning), batches())

    assert [type(each).__name__ for each in copies] == ["Listener"]


def test_another_rank_logs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modelry.pytorch.autolog()
    monkeypatch.setattr(lightning.pytorch.strategies.SingleDeviceStrategy, "is_global_zero", False)

    trainer_of(lightning, tmp_path, max_epochs=1).fit(lightning_module(lightning), batches())

    assert modelry.last_active_run() is None


def test_epochs_of_keras_are_a_series_and_the_model_is_logged(client: Client) -> None:
    modelry.keras.autolog(log_input_examples=True)
    seen: list[int] = []
    mine: list[Any] = [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))]
    given = list(mine)
    model = keras_model()

    history = model.fit(FEATURES, FEATURES[:, :1], epochs=3, validation_split=0.25, verbose=0, callbacks=mine)

    run = last()
    assert run.tags["mlflow.autologging"] == "keras"
    assert (run.params["epochs"], run.params["batch_size"], run.params["optimizer_name"]) == ("3", "32", "SGD")
    assert points(client, run, "loss") == dict(enumerate(history.history["loss"]))
    assert points(client, run, "validation_mae") == dict(enumerate(history.history["val_mae"]))
    assert b"Dense" in client.artifacts.read_bytes(f"runs/{run.run_id}", "model_summary.txt")
    loaded: Any = modelry.pyfunc.load_model(f"runs:/{run.run_id}/model")
    assert loaded.input_example.shape == (5, 3)
    assert loaded.predict(FEATURES) == pytest.approx(model.predict(FEATURES, verbose=0))
    assert (mine, seen) == (given, [0, 1, 2])
    assert [each.context for each in run.datasets] == ["train"]


@pytest.mark.parametrize("form", ["none", "single", "list of keras"])
def test_callbacks_of_keras_may_be_given_in_each_form(form: str, client: Client) -> None:
    modelry.tensorflow.autolog(log_models=False, log_every_n_steps=2)
    model, mine = keras_model(), keras.callbacks.History()
    forms = {
        "none": None,
        "single": mine,
        "list of keras": keras.callbacks.CallbackList([mine], model=model, epochs=1, verbose=0),
    }

    model.fit(FEATURES, FEATURES[:, :1], batch_size=3, callbacks=forms[form], validation_split=0.5, verbose=0)

    assert list(points(client, last(), "loss")) == [2]
    assert list(points(client, last(), "validation_loss")) == [2]
    if form == "list of keras":
        assert len(forms[form].callbacks) == 1


@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed, but will be ignored")
def test_a_generator_for_keras_is_not_used_up() -> None:
    def rows() -> Iterator[Any]:
        for number in range(100):
            yield number * FEATURES, FEATURES[:, :1]

    def fitted() -> list[float]:
        model = keras_model()
        model.fit(rows(), steps_per_epoch=1, epochs=2, verbose=0)
        weights: list[float] = model.get_weights()[0].flatten().tolist()
        return weights

    expected = fitted()
    modelry.keras.autolog()

    assert fitted() == expected


def test_a_fit_of_keras_is_the_same_as_without_autologging() -> None:
    def fitted() -> list[Any]:
        keras.utils.set_random_seed(1)
        model = keras_model()
        model.fit(FEATURES, FEATURES[:, :1], epochs=2, verbose=0)
        modelry.flush()
        return [*model.get_weights()[0].flatten().tolist(), random.random(), np.random.rand()]

    expected = fitted()
    modelry.autolog()

    assert fitted() == expected


def test_a_fit_of_keras_that_raises_fails_its_run() -> None:
    modelry.keras.autolog()
    problem = ZeroDivisionError("in a callback")

    def fail(*_: Any) -> None:
        raise problem

    with pytest.raises(ZeroDivisionError) as raised:
        keras_model().fit(
            FEATURES, FEATURES[:, :1], verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=fail)]
        )

    assert raised.value is problem
    assert last().status is RunStatus.FAILED


def test_a_trainer_of_hugging_face_is_logged(client: Client, tmp_path: Path) -> None:
    modelry.transformers.autolog(log_checkpoints=True)
    trainer = hugging_face_trainer(str(tmp_path), save_strategy="steps", save_steps=2)
    before = list(trainer.callback_handler.callbacks)

    result = trainer.train()

    run = last()
    assert (run.params["max_steps"], run.params["hidden_size"]) == ("3", "8")
    assert list(points(client, run, "loss")) == [1, 2, 3]
    assert run.metrics["train_loss"] == pytest.approx(result.training_loss)
    assert any(path.startswith("checkpoints/checkpoint-2/") for path in files_of(client, run))
    loaded = modelry.transformers.load_model(f"runs:/{run.run_id}/model")
    assert loaded.task == "text-classification"
    assert torch.equal(loaded.model.classifier.weight, trainer.model.classifier.weight)
    assert trainer.callback_handler.callbacks == before


def test_the_callback_for_hugging_face_goes_to_the_active_run_or_one_of_its_own(client: Client, tmp_path: Path) -> None:
    modelry.transformers.autolog(log_models=False)  # which leaves the caller's own callback alone
    trainer = hugging_face_trainer(str(tmp_path), callbacks=[modelry.transformers.ModelryCallback()])

    trainer.train()
    alone = last()
    with modelry.start_run() as run:
        trainer.train()
        trainer.evaluate()
    again = client.runs.get(run.run_id)

    assert alone.status is RunStatus.FINISHED
    assert list(points(client, alone, "loss")) == [1, 2, 3]
    assert again.run_id != alone.run_id
    assert list(points(client, again, "eval_loss")) == [3]


def test_a_training_of_hugging_face_is_the_same_as_without_autologging(tmp_path: Path) -> None:
    def trained() -> list[Any]:
        trainer = hugging_face_trainer(str(tmp_path))
        trainer.train()
        modelry.flush()
        after = random.random(), np.random.rand(), float(torch.rand(1))
        return [*trainer.model.classifier.weight.flatten().tolist(), *after]

    expected = trained()
    modelry.autolog()

    assert trained() == expected


def test_a_trainer_of_hugging_face_that_raises_fails_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modelry.autolog()
    trainer = hugging_face_trainer(str(tmp_path))
    problem = ZeroDivisionError("in the model")

    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(trainer, "training_step", fail)
    with pytest.raises(ZeroDivisionError) as raised:
        trainer.train()

    assert raised.value is problem
    assert last().status is RunStatus.FAILED


def test_off_means_off() -> None:
    originals = [lightning.Trainer.fit, pytorch_lightning.Trainer.fit, keras.Model.fit]

    modelry.autolog()
    during = [lightning.Trainer.fit, pytorch_lightning.Trainer.fit, keras.Model.fit]
    modelry.autolog(disable=True)

    assert all(new is not old for new, old in zip(during, originals, strict=True))
    assert [lightning.Trainer.fit, pytorch_lightning.Trainer.fit, keras.Model.fit] == originals
