"""What autologging records for frameworks of deep learning, as a table of docs/autologging.md, made by running it.

python tests/families/deep/autologged.py writes it (in the environment of the family, see run.py).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch._dynamo  # before TensorFlow, see conftest.py

REPOSITORY = Path(__file__).resolve().parents[3]


def lightning_trainer(package: Any, folder: str, callbacks: Any = None, **options: Any) -> Any:
    """A trainer on the CPU that says nothing."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return package.Trainer(**{"default_root_dir": folder, "callbacks": callbacks, **quiet, **options})


def lightning_module(package: Any) -> Any:
    """A linear model that logs a loss of each step, one of each epoch, and one of validations."""

    class Line(package.LightningModule):  # type: ignore[misc]
        def __init__(self, lr: float = 0.1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(3, 1)
            self.example_input_array = torch.ones(2, 3)

        def forward(self, given: Any) -> Any:
            return self.layer(given)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = (self(batch[0]) - batch[1]).square().mean()
            self.log("loss", loss, on_step=True, on_epoch=True)
            self.log("step_only", float(self.global_step))
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", (self(batch[0]) - batch[1]).square().mean())

        def on_train_epoch_end(self) -> None:
            self.log("epochs_done", float(self.current_epoch + 1))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])

    return Line()


def batches(rows: int = 12, size: int = 3) -> Any:
    """A loader of rows of three features and a target."""
    random = torch.Generator().manual_seed(1)
    features = torch.rand(rows, 3, generator=random)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, features[:, :1]), batch_size=size)


def lightning_fit() -> object:
    import lightning

    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        callbacks: Any = lightning.pytorch.callbacks
        best = callbacks.ModelCheckpoint(monitor="val_loss", dirpath=folder)
        stop = callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=10.0)
        trainer = lightning_trainer(lightning, folder, [best, stop], max_epochs=4)
        trainer.fit(lightning_module(lightning), batches(), batches())
        _wait()
    return trainer


def keras_model() -> Any:
    """A linear model."""
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return model


def keras_fit() -> object:
    import keras
    import numpy as np

    features = np.random.default_rng(1).random((12, 3), dtype=np.float32)
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=1, min_delta=10.0, restore_best_weights=True)
    return keras_model().fit(
        features, features[:, :1], epochs=4, validation_split=0.25, verbose=0, callbacks=[stop], batch_size=3
    )


def hugging_face_trainer(folder: str, **options: Any) -> Any:
    """A trainer of a tiny classifier of texts, on the CPU, that says nothing."""
    import transformers

    from tests.families.deep.test_flavors import transformers_pipeline

    pipeline = transformers_pipeline()
    row = {"input_ids": [2, 3, 5], "attention_mask": [1, 1, 1], "labels": 1}
    given = {"callbacks": options.pop("callbacks", None)}
    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "logging_steps": 1, "save_strategy": "no"}
    arguments = transformers.TrainingArguments(
        **{"output_dir": folder, "max_steps": 3, "per_device_train_batch_size": 2, **quiet, **options}
    )
    trainer = transformers.Trainer(
        model=pipeline.model,
        args=arguments,
        train_dataset=[row] * 4,
        eval_dataset=[row] * 2,
        processing_class=pipeline.tokenizer,
        **given,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def hugging_face_training() -> object:
    with tempfile.TemporaryDirectory() as folder:
        result = hugging_face_trainer(folder, eval_strategy="steps", eval_steps=3).train()
    _wait()
    return result


def _wait() -> None:
    import modelry

    modelry.flush()


FITS: dict[str, Callable[[], object]] = {
    "PyTorch Lightning": lightning_fit,
    "Keras": keras_fit,
    "Trainer of Hugging Face": hugging_face_training,
}


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    from tests.families.tabular.autologged import write

    write("deep", FITS)
