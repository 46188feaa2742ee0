"""The stage `train`: fits a line to data/prepared, which the stage `prepare` made, and measures it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import modelry

params = yaml.safe_load(Path("params.yaml").read_text())["train"]


def inputs(table: pd.DataFrame) -> np.ndarray:
    """The area of each house and a constant, of shape (rows, 2)."""
    return np.column_stack([table["area"], np.ones(len(table))])


with modelry.start_run(run_name="train"):
    modelry.set_tag("dvc.stage", "train")
    modelry.log_params(params)
    # DVC has written dvc.lock when `prepare` ended, so the digest of its output is known here.
    modelry.log_input(modelry.data.from_dvc("data/prepared"), "training")

    train, test = (pd.read_csv(f"data/prepared/{part}.csv") for part in ("train", "test"))
    ridge = inputs(train).T @ inputs(train) + params["alpha"] * np.eye(2)
    weights = np.linalg.solve(ridge, inputs(train).T @ train["price"])
    error = float(np.abs(inputs(test) @ weights - test["price"]).mean())
    modelry.log_metric("mean_absolute_error", error)

    Path("model.json").write_text(json.dumps(weights.tolist()))
    Path("metrics.json").write_text(json.dumps({"mean_absolute_error": error}))
    modelry.log_artifact("model.json")
