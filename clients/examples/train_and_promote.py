"""Trains models that read handwritten digits, tracks them, and promotes the best one: what `make demo` runs.

It starts all services on this machine, with their data in `.demo`, or uses the server of MODELRY_TRACKING_URI.
"""

# ruff: noqa: E402  # The imports of scikit-learn and others take seconds. What comes before them says so.

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any


def stopped(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Says in one line that Ctrl-C ended the example."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nStopped.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    sys.excepthook = stopped
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that the server is stopped too
    print("Loading scikit-learn, matplotlib and Modelry ...", flush=True)

import matplotlib
import numpy as np
from matplotlib import pyplot
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import modelry

FOLDER = Path(__file__).resolve().parents[2] / ".demo"
EXPERIMENT = "digits"
MODEL = "digit-reader"
SEED = 7
START_SECONDS = 30.0
FLUSH_SECONDS = 5.0

try:
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError:
    _console = None
else:
    _console = Console(highlight=False)


# --- output ---------------------------------------------------------------------------------------------


def chapter(title: str) -> None:
    """Prints the title of a part."""
    if _console is None:
        print(f"\n== {title}")
    else:
        _console.print()
        _console.rule(f"[bold]{title}", align="left")


def say(text: str) -> None:
    """Prints a line."""
    print(text) if _console is None else _console.print(text, markup=False, soft_wrap=True)


def show(*rows: tuple[object, ...]) -> None:
    """Prints rows as a table. The first row has the titles."""
    if _console is None:
        for row in rows:
            print("  " + "  ".join(f"{cell!s:<12}" for cell in row))
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for title in rows[0]:
        table.add_column(str(title), no_wrap=True)
    for row in rows[1:]:
        table.add_row(*map(str, row))
    _console.print(table)


# --- the platform --------------------------------------------------------------------------------------------------


@contextmanager
def platform() -> Iterator[str]:
    """The address of the server: that of the environment, else of one that is started here and stopped afterwards."""
    running = os.environ.get("MODELRY_TRACKING_URI")
    if running:
        say(f"Using the server at {running}.")
        yield running
        return
    began = time.monotonic()
    # What a demo that was broken off could not deliver does not wait among what else this user logs.
    os.environ["MODELRY_SPOOL_DIR"] = str(FOLDER / "spool")
    command = [sys.executable, "-m", "modelry_cli", "up", "--port", "0", "--data-folder", str(FOLDER)]
    # In a process group of its own, Ctrl-C does not reach it: it is stopped below, after the last delivery.
    up = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        assert up.stdout is not None
        lines = (line.split() for line in up.stdout)
        address = next((words[1] for words in lines if words[:1] == ["address"]), None)
        if address is None:
            raise SystemExit("The server did not start; see its messages above.")
        say(f"Started tracking, registry, artifacts and access at {address} in {time.monotonic() - began:.1f} s.")
        say(f"All data is in {FOLDER}.")
        yield address
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        modelry.flush(FLUSH_SECONDS)
        up.terminate()
        up.wait(START_SECONDS)
        signal.signal(signal.SIGINT, signal.default_int_handler)


# --- the data and the models ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Images of handwritten digits, 8 by 8 pixels each, in three parts."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]


def load() -> Digits:
    """The 1797 digits that come with scikit-learn."""
    pixels, labels = load_digits(return_X_y=True, as_frame=True)
    pixels = pixels / 16.0
    rest, test, rest_labels, test_labels = train_test_split(
        pixels, labels, test_size=0.2, random_state=SEED, stratify=labels
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=0.25, random_state=SEED, stratify=rest_labels
    )
    return Digits((train, train_labels), (validation, validation_labels), (test, test_labels))


@dataclass(frozen=True)
class Candidate:
    """A model to try: its name, its params, and how to train it one step further."""

    name: str
    model: Any
    rounds: int
    params: dict[str, object]
    learn: Callable[[Any, Any, Any, int], None]


def by_epochs(model: Any, pixels: Any, labels: Any, step: int) -> None:
    """Trains for one epoch."""
    model.partial_fit(pixels, labels, classes=np.arange(10))


def by_trees(model: Any, pixels: Any, labels: Any, step: int) -> None:
    """Adds four trees."""
    model.set_params(n_estimators=4 * (step + 1))
    model.fit(pixels, labels)


def network(width: int, rate: float) -> Candidate:
    """A neural network with one hidden layer."""
    model = MLPClassifier((width,), learning_rate_init=rate, random_state=SEED)
    return Candidate(f"network-{width}", model, 50, {"hidden_units": width, "learning_rate": rate}, by_epochs)


def candidates() -> list[Candidate]:
    """The models that are tried."""
    linear = SGDClassifier(loss="log_loss", alpha=1e-3, random_state=SEED)
    forest = RandomForestClassifier(n_estimators=4, max_depth=12, warm_start=True, random_state=SEED)
    return [
        Candidate("linear", linear, 40, {"alpha": 1e-3, "loss": "log_loss"}, by_epochs),
        Candidate("forest", forest, 25, {"max_depth": 12, "trees": 100}, by_trees),
        network(16, 0.01),
        network(96, 0.003),
    ]


def train(candidate: Candidate, digits: Digits, group: str) -> None:
    """Trains one model in a run of its own, and says how well it reads."""
    pixels, labels = digits.train
    began = time.monotonic()
    with modelry.start_run(run_name=candidate.name, tags={"demo.group": group}) as run:
        modelry.log_params({"model": type(candidate.model).__name__, "seed": SEED, **candidate.params})
        modelry.log_input(
            modelry.data.from_pandas(pixels, source="sklearn:load_digits", name="digits"), context="training"
        )
        for step in range(candidate.rounds):
            candidate.learn(candidate.model, pixels, labels, step)
            modelry.log_metrics(
                {
                    "train_loss": log_loss(labels, candidate.model.predict_proba(pixels)),
                    "validation_loss": log_loss(
                        digits.validation[1], candidate.model.predict_proba(digits.validation[0])
                    ),
                    "validation_accuracy": candidate.model.score(*digits.validation),
                },
                step=step,
            )
        guessed = candidate.model.predict(digits.validation[0])
        modelry.log_figure(confusion(digits.validation[1], guessed, candidate.name), "pictures/confusion.png")
        signature = modelry.models.infer_signature(pixels, guessed)
        modelry.sklearn.log_model(candidate.model, "model", signature=signature)
    accuracy = accuracy_score(digits.validation[1], guessed)
    took = time.monotonic() - began
    say(f"{candidate.name:<11} accuracy {accuracy:.3f}  {candidate.rounds * 3} points  {took:.1f} s  run {run.run_id}")


def confusion(labels: Any, guessed: Any, name: str) -> Any:
    """The confusion matrix."""
    figure, axes = pyplot.subplots(figsize=(5.5, 5), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(labels, guessed, ax=axes, cmap="Blues", colorbar=False)
    axes.set_title(f"{name}: confusion matrix")
    pyplot.close(figure)
    return figure


# --- the example -----------------------------------------------------------------------------------------------------


def pick(group: str) -> Any:
    """The best finished run of this group, found by search."""
    query = f"status = 'FINISHED' AND tags.demo.group = '{group}' AND metrics.validation_accuracy > 0.9"
    found: Any = modelry.search_runs(filter_string=query, order_by=["metrics.validation_accuracy DESC"])
    say(f"search_runs({query!r})")
    say(f"found {len(found)} runs; the best, by validation accuracy, is {found.iloc[0]['run_name']!r}.")
    return found.iloc[0]


def promote(run_id: str) -> int:
    """Registers the model of a run and promotes it to Production. Returns its version number."""
    client = modelry.Client()
    client.models.create(MODEL, description="Reads handwritten digits, 8 by 8 pixels.", allow_existing=True)
    version = modelry.register_model(f"runs:/{run_id}/model", MODEL)
    number = version.version_number
    say(f"{MODEL} version {number}: {version.file_count} files, frozen, {version.size_bytes // 1024} KiB")
    client.promotions.promote(MODEL, number, "Staging", reason="the best of its group")
    moved = client.promotions.promote(
        MODEL, number, "Production", archive_existing=True, reason="read the validation digits well"
    )
    archived = ", ".join(f"version {number}" for number in moved.archived_version_numbers)
    say("None -> Staging -> Production" + (f" (archived: {archived})" if archived else ""))
    client.aliases.set(MODEL, "champion", number, reason="serves from now on")
    say(f"models:/{MODEL}@champion points at version {number}")
    return number


def predict(digits: Digits) -> None:
    """Loads the champion by its alias and reads digits that were in no training data."""
    champion = modelry.pyfunc.load_model(f"models:/{MODEL}@champion")
    pixels, labels = digits.test
    guessed: Any = champion.predict(pixels)
    say(f"It reads {accuracy_score(labels, guessed):.1%} of {len(labels)} unseen digits. Three of them:")
    say("")
    pictures = [drawn(pixels.iloc[number].to_numpy()) for number in range(3)]
    for rows in zip(*pictures, strict=True):
        say("    " + "     ".join(rows))
    say("    " + "     ".join(f"{f'read as {guess}':<16}" for guess in guessed[:3]))


def drawn(pixels: Any) -> list[str]:
    """A digit as text, a line for each row of pixels."""
    shades = " ░▒▓█"
    return ["".join(2 * shades[round(float(shade) * 4)] for shade in row) for row in pixels.reshape(8, 8)]


def tell_the_trail() -> None:
    """Shows the audit records: who changed what, and why."""
    records = modelry.Client().audit.list(MODEL, max_results=8)
    rows = [
        (each.sequence, each.action, each.version_number or "", each.after.get("stage", ""), each.actor, each.reason)
        for each in records
    ]
    show(("#", "what", "version", "stage", "who", "why"), *rows)


def tell_what_next(run_id: str, ours: bool) -> None:
    """Shows commands to try."""
    beside = Path(sys.executable).parent / "modelry"
    program = os.path.relpath(beside) if beside.exists() else "modelry"
    if ours:
        say("Start the server again:\n")
        say(f"  {program} up --data-folder {os.path.relpath(FOLDER)}\n")
        say("and in another terminal:\n")
    for words in (
        f"run list --experiment {EXPERIMENT} --order-by 'metrics.validation_accuracy DESC'",
        f"run metrics {run_id} validation_accuracy --plot",
        f"artifact download {run_id} pictures/confusion.png",
        f"version list {MODEL}",
        f"audit list {MODEL}",
    ):
        say(f"  {program} {words}")


def main() -> None:
    """Runs the whole example."""
    matplotlib.use("Agg")
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    began = time.monotonic()
    chapter("A platform")
    # The matrices are small: more than one thread would be slower.
    with threadpool_limits(1), platform() as address:
        modelry.set_tracking_uri(address)
        modelry.set_experiment(EXPERIMENT)
        digits = load()
        chapter(f"Four models learn to read {len(digits.train[0])} handwritten digits")
        group = f"{time.time_ns() // 1_000_000:x}"
        for candidate in candidates():
            train(candidate, digits, group)
        modelry.flush()
        chapter("The best one is registered and promoted")
        best = pick(group)
        promote(best["run_id"])
        chapter("The champion is loaded by its alias")
        predict(digits)
        chapter("What the audit trail says")
        tell_the_trail()
    chapter(f"Done in {time.monotonic() - began:.1f} s")
    tell_what_next(best["run_id"], ours="MODELRY_TRACKING_URI" not in os.environ)


if __name__ == "__main__":
    main()
