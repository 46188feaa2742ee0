"""Measures what autologging adds to a fit, in pairs: one fit without it, one with it, and so on.

    python tests/bench/autologging.py [pairs]

A small fit is a logistic regression on 569 rows, one of about 10 s a random forest. One of nearest neighbors takes no
time and answers slowly, and the model of one of words is slow to copy. `added` is what the call takes longer, and
the work of its thread is what a busy machine does not blur. What the background does is given beside it.
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


def neighbors() -> Callable[[], Any]:
    """A fit of a millisecond, whose model holds 24 MB and takes long to predict."""
    from sklearn.neighbors import KNeighborsRegressor

    features = np.random.default_rng(1).normal(size=(100_000, 30))
    return lambda: KNeighborsRegressor(metric="manhattan", algorithm="brute").fit(features, features[:, 0])


def words() -> Callable[[], Any]:
    """A fit whose model is slow to copy: a vocabulary of 500,000 words."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    vocabulary = [f"word{number}" for number in range(500_000)]
    texts = [" ".join(vocabulary[first : first + 20]) for first in range(200)]
    classes = [number % 2 for number in range(200)]
    return lambda: make_pipeline(CountVectorizer(vocabulary=vocabulary), MultinomialNB()).fit(texts, classes)


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """The seconds that an action takes, and those that the processor works in this thread."""
    began = time.perf_counter(), time.thread_time()
    action()
    return time.perf_counter() - began[0], time.thread_time() - began[1]


def measure(name: str, fit: Callable[[], Any], pairs: int, *, log_models: bool) -> None:
    """Prints the medians of a number of pairs, after one of each that does not count."""
    plain, added, worked, later = [], [], [], []
    for count in range(pairs + 1):
        modelry.autolog(disable=True)
        without = timed(fit)
        modelry.autolog(log_models=log_models)
        within = timed(fit)
        rest = timed(modelry.flush)
        if count:
            plain.append(without[0])
            added.append(within[0] - without[0])
            worked.append(within[1] - without[1])
            later.append(rest[0])
    modelry.autolog(disable=True)
    base, more = statistics.median(plain), statistics.median(added)
    print(
        f"{name}, log_models={log_models}: fit {base * 1000:.0f} ms, added {more * 1000:.1f} ms ({more / base:.1%}), "
        f"of it {statistics.median(worked) * 1000:.1f} ms work of the thread; afterwards "
        f"{statistics.median(later) * 1000:.0f} ms in the background",
        flush=True,
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
                measure("neighbors", neighbors(), max(2, pairs // 2), log_models=log_models)
            measure("500,000 words", words(), max(2, pairs // 2), log_models=False)
            for log_models in (False, True):
                measure("10 s", large(), max(2, pairs // 5), log_models=log_models)


if __name__ == "__main__":
    main()
