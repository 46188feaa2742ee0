"""What is done after fits of scikit-learn: work in the background, and metrics that the training code computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelry
from modelry import Client
from modelry.types import Run

pytestmark = pytest.mark.usefixtures("autologging")


def last() -> Run:
    found = modelry.last_active_run()
    assert found is not None
    return found


def files(client: Client, run: Run) -> set[str]:
    modelry.flush()
    return {each.path for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}


def test_a_run_ends_after_what_is_logged_in_the_background(client: Client, features: Any, classes: Any) -> None:
    modelry.sklearn.autolog()

    with modelry.start_run() as run:
        LogisticRegression().fit(features, classes)

    found = {each.path for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}
    assert {"model/MLmodel", "training_roc_curve.png"} <= found


def test_a_fit_in_a_module_that_is_being_imported_waits_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "train_it.py").write_text(
        "import modelry\nfrom sklearn.cluster import KMeans\n"
        "class Own(KMeans):\n    pass\n"
        "with modelry.start_run():\n    Own(2).fit([[0.0], [1.0], [2.0]])\n"
    )
    code = "import modelry, sys; modelry.sklearn.autolog(); sys.path.append('.'); import train_it; print('done')"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True, timeout=300
    )

    assert done.stdout == "done\n"


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_child_of_multiprocessing_has_logged_all_when_it_ends(client: Client, unique: str, tmp_path: Path) -> None:
    code = (
        "import modelry, multiprocessing\n"
        "def work():\n"
        "    from sklearn.cluster import KMeans\n"
        f"    modelry.sklearn.autolog(extra_tags={{'mark': '{unique}'}})\n"
        "    KMeans(2).fit([[0.0], [1.0], [2.0]])\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('fork').Process(target=work)\n"
        "    child.start(); child.join(); raise SystemExit(child.exitcode)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)

    (run,) = client.runs.search(["0"], f"tags.mark = '{unique}'")
    assert run.status is modelry.RunStatus.FINISHED
    assert "model/MLmodel" in files(client, run)


def test_metrics_that_are_computed_after_the_fit_are_logged_to_its_run(
    client: Client, features: Any, classes: Any
) -> None:
    modelry.sklearn.autolog(log_models=False)
    new_rows, splits = features[40:].copy(), {"test": features[:40].copy()}

    with modelry.start_run() as run:
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, classes)
    labels, shares = model.predict(new_rows), model.predict_proba(splits["test"])
    accuracy = accuracy_score(classes[40:], labels)
    area = sklearn.metrics.roc_auc_score(classes[:40], shares[:, 1])
    balanced = sklearn.metrics.fbeta_score(classes[40:], labels, beta=2.0)
    score = model.score(new_rows, classes[40:])
    again = accuracy_score(classes[40:], labels, normalize=False)
    accuracy_score(classes, classes)

    modelry.flush()
    found = modelry.get_run(run.run_id)
    assert {key: value for key, value in found.metrics.items() if not key.startswith(("training", "system"))} == {
        "accuracy_score_new_rows": accuracy,
        "roc_auc_score_splits_test": area,
        "fbeta_score_new_rows": balanced,
        "Pipeline_score_new_rows": score,
        "accuracy_score_new_rows-2": again,
    }
    calls = json.loads(client.artifacts.read_bytes(f"runs/{run.run_id}", "metric_info.json"))
    assert calls["fbeta_score_new_rows"] == "fbeta_score(<predictions for new_rows>, beta=2.0)"
    digests = {each.dataset.digest for each in found.datasets if each.context == "eval"}
    assert digests == {modelry.data.from_numpy(each).digest for each in (new_rows, splits["test"])}


def test_metrics_after_the_fit_can_be_left_out(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False, log_post_training_metrics=False)
    model = LogisticRegression().fit(features, classes)

    accuracy_score(classes, model.predict(features))

    assert all(key.startswith("training_") for key in last().metrics)
