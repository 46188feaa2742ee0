"""A training in several processes, which test_ranks.py starts.

python tests/families/deep/ranks.py lightning|transformers FOLDER [strategy] [the rank that fails, and how]
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import modelry


def fail_if_meant(rank: int) -> None:
    """Raises, or kills its process, in the rank that the command line names."""
    who, how = ([*sys.argv[4:], "", ""])[:2]
    if str(rank) != who:
        return
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError(f"rank {rank} has bad data")


def lightning_in_ranks(folder: str, strategy: str) -> None:
    """Fits a module in two processes."""
    import lightning

    from tests.families.deep.autologged import batches, lightning_module, lightning_trainer

    class Failing(lightning.pytorch.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *rest: Any, **more: Any) -> None:
            if trainer.global_step == 2:
                fail_if_meant(trainer.global_rank)

    best = lightning.pytorch.callbacks.ModelCheckpoint(monitor="val_loss", dirpath=folder)
    trainer = lightning_trainer(
        lightning, folder, [best, Failing()], max_epochs=2, devices=2, strategy=strategy, log_every_n_steps=1
    )
    with modelry.start_run(run_name="in ranks") if "in a run" in sys.argv else contextlib.nullcontext():
        trainer.fit(lightning_module(lightning), batches(), batches())


def transformers_in_ranks(folder: str, strategy: str) -> None:
    """Trains by the Trainer of Hugging Face, in the processes that torchrun has started."""
    import transformers

    from tests.families.deep.autologged import hugging_face_trainer

    class Failing(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                fail_if_meant(args.process_index)

    callbacks: list[Any] = [Failing()]
    if strategy == "callback":
        callbacks.append(modelry.transformers.ModelryCallback())
    hugging_face_trainer(folder, callbacks=callbacks, ddp_backend="gloo").train()


if __name__ == "__main__":
    if sys.argv[3] != "callback":
        modelry.autolog()
    {"lightning": lightning_in_ranks, "transformers": transformers_in_ranks}[sys.argv[1]](*sys.argv[2:4])
