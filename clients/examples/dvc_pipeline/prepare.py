"""The stage `prepare`: splits the tracked file data/houses.csv into data/prepared/train.csv and test.csv."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

import modelry

params = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
prepared = Path("data/prepared")

with modelry.start_run(run_name="prepare"):
    modelry.set_tag("dvc.stage", "prepare")
    modelry.log_params(params)
    modelry.log_input(modelry.data.from_dvc("data/houses.csv"), "raw")

    houses = pd.read_csv("data/houses.csv")
    test = houses.sample(frac=params["test_share"], random_state=params["seed"])
    prepared.mkdir(parents=True, exist_ok=True)
    test.to_csv(prepared / "test.csv", index=False)
    houses.drop(test.index).to_csv(prepared / "train.csv", index=False)
    modelry.log_metrics({"rows_train": len(houses) - len(test), "rows_test": len(test)})
