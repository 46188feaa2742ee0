"""Measures what autologging adds to a fit, in pairs: one fit without it, one with it, and so on.

    python tests/bench/autologging.py [pairs]

A small fit is a logistic regression on 569 rows, one of about 10 s a random forest. `fit` is the call itself,
`until flushed` counts the work in the background too. Figures of a noisy machine count only as medians of pairs.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import modelry
from tests.parts import deployment


def small() -> Callable[[], Any]:
    """A fit of some milliseconds."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, classes = load_breast_cancer(return_X_y=True)
    return lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(features, classes)


def large() -> Callable[[], Any]:
    """A fit of about 10 s."""
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(1)
    features = random.normal(size=(60_000, 20))
    classes = (features[:, 0] + random.normal(size=60_000) > 0).astype(int)
    return lambda: RandomForestClassifier(22, random_state=1).fit(features, classes)


def timed(action: Callable[[], Any]) -> float:
    """The seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(name: str, fit: Callable[[], Any], pairs: int, *, log_models: bool) -> None:
    """Prints the medians of a number of pairs, after one of each that does not count."""
    plain, observed, whole = [], [], []
    for count in range(pairs + 1):
        modelry.autolog(disable=True)
        without = timed(fit)
        modelry.autolog(log_models=log_models)
        within = timed(fit)
        rest = timed(modelry.flush)
        if count:
            plain.append(without)
            observed.append(within - without)
            whole.append(within + rest - without)
    modelry.autolog(disable=True)
    base, added = statistics.median(plain), statistics.median(observed)
    print(
        f"{name}, log_models={log_models}: fit {base * 1000:.0f} ms, added {added * 1000:.1f} ms "
        f"({added / base:.1%}), until flushed {statistics.median(whole) * 1000:.0f} ms"
    )


def main() -> None:
    """Runs a server and measures."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    logging.getLogger("modelry").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MODELRY_SPOOL_DIR"] = f"{folder}/spool"
        with deployment.running("all", Path(folder)) as server:
            os.environ.update(server.environment())
            modelry.set_tracking_uri(server.address)
            for log_models in (False, True):
                measure("small", small(), pairs, log_models=log_models)
            for log_models in (False, True):
                measure("10 s", large(), max(2, pairs // 5), log_models=log_models)


if __name__ == "__main__":
    main()
