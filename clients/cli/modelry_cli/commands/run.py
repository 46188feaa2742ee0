"""`modelry run`: one execution of training code each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.commands import logs, series
from modelry_cli.commands.experiment import named
from modelry_cli.options import (
    Deleted,
    Description,
    Filter,
    FilterWord,
    Limit,
    NewDescription,
    NewName,
    OrderBy,
    RunId,
    Tag,
    TagKeys,
    TagWords,
    numbers,
    pairs,
    within,
)
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal.output import Column
from modelry_cli.terminal.words import counted, lasted

if TYPE_CHECKING:
    from modelry import Client, Run
    from modelry.types import DatasetInput

app = typer.Typer(help="Runs: one execution of training code each.", no_args_is_help=True)

METRIC_COLUMNS = 3
"""How many metrics a list shows by default."""

Experiment = Annotated[
    list[str] | None,
    typer.Option("--experiment", "-e", help="Only of this experiment (id or name). Can be repeated."),
]
Shown = Annotated[
    list[str] | None,
    typer.Option("--column", help="Show metrics.KEY, params.KEY or tags.KEY. Can be repeated.", metavar="COLUMN"),
]
Params = Annotated[list[str] | None, typer.Option("--param", help="A param. Can be repeated.", metavar="KEY=VALUE")]
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", help="A point of a metric. Can be repeated.", metavar="KEY=NUMBER")
]


@asks(app, "list")
def list_runs(
    session: Session,
    experiment: Experiment = None,
    filter: Filter = "",
    order_by: OrderBy = None,
    column: Shown = None,
    deleted: Deleted = False,
    limit: Limit = None,
) -> None:
    """Lists runs. Default order: the newest first."""
    client = session.client
    found = client.runs.search(
        [named(client, word).experiment_id for word in experiment or ()],
        filter,
        order_by=order_by or (),
        lifecycle="DELETED" if deleted else "ACTIVE",
    )
    session.show_all(
        found, lambda runs: _columns(client, runs, column), limit=limit, nothing="No runs.", document=_document
    )


@asks(app, "search", hidden=True)
def search_runs(session: Session, filter: FilterWord, experiment: Experiment = None, limit: Limit = None) -> None:
    """Lists the runs that a filter finds."""
    list_runs(session, experiment, filter, limit=limit)


@asks(app, "get")
def get_run(session: Session, run_id: RunId) -> None:
    """Shows a run with its params, tags, metrics and datasets."""
    run = session.client.runs.get(run_id)
    drawn = {
        **fields_of(run),
        "duration": lasted(run.start_time, run.end_time),
        "metrics": {
            summary.key: {
                "last": summary.last_value,
                "at step": summary.last_step,
                "min": summary.min_value,
                "max": summary.max_value,
                "points": summary.point_count,
            }
            for summary in run.summaries.values()
        },
        "summaries": None,
        "datasets": [
            {"name": used.dataset.name, "digest": used.dataset.digest, "context": used.context} for used in run.datasets
        ],
    }
    session.show(_document(run), drawn)


@asks(app, "datasets")
def list_datasets_of_run(session: Session, run_id: RunId, limit: Limit = None) -> None:
    """Lists the datasets that a run used."""
    columns: list[Column[DatasetInput]] = [
        Column("DATASET ID", lambda used: used.dataset.dataset_id),
        Column("CONTEXT", lambda used: used.context),
        Column("NAME", lambda used: used.dataset.name, wraps=True),
        Column("DIGEST", lambda used: used.dataset.digest, wraps=True),
        Column("SOURCE TYPE", lambda used: used.dataset.source_type, spare=2),
        Column("SOURCE", lambda used: used.dataset.source, wraps=True, spare=1),
    ]
    used = session.client.runs.get(run_id, read="datasets").datasets
    session.show_all(used, columns, limit=limit, nothing="The run used no datasets.")


@asks(app, "create")
def create_run(
    session: Session,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", "-e", help="The id or the name of the experiment. Default: Default."),
    ] = None,
    name: Annotated[str, typer.Option(help="Its name. Default: the server makes one up.")] = "",
    parent: Annotated[str, typer.Option(help="The run in which this one is nested.", metavar="RUN_ID")] = "",
    description: Description = "",
    param: Params = None,
    tag: Tag = None,
) -> None:
    """Starts a run, for programs that can't use an SDK. `log` adds to it, `finish` ends it."""
    made = session.client.runs.create(
        *(() if experiment is None else (named(session.client, experiment).experiment_id,)),
        name=name,
        parent_run_id=parent,
        description=description,
        params=pairs(param),
        tags=pairs(tag),
    )
    session.show(_document(session.client.runs.get(made.run_id)))


@asks(app, "log")
def log_batch(
    session: Session,
    run_id: RunId,
    param: Params = None,
    metric: Metrics = None,
    tag: Tag = None,
    step: Annotated[int, typer.Option(help="The step of the metrics.", callback=within(64))] = 0,
) -> None:
    """Adds params, points and tags to a run, all or nothing."""
    import time

    now_ms = time.time_ns() // 1_000_000
    params, tags = pairs(param), pairs(tag)
    points = [(key, value, now_ms, step) for key, value in numbers(metric).items()]
    if not (params or points or tags):
        raise typer.BadParameter("nothing to log; give --param, --metric or --tag")
    session.client.runs.log_batch(run_id, metrics=points, params=params, tags=tags)
    counts = {"param": len(params), "point": len(points), "tag": len(tags)}
    logged = ", ".join(counted(count, what) for what, count in counts.items() if count)
    session.done(f"Logged {logged} to run {run_id}.", run_id=run_id)


@asks(app, "heartbeat")
def log_heartbeats(
    session: Session,
    run_ids: Annotated[list[str], typer.Argument(help="The ids of the runs.", metavar="RUN_ID...")],
    period: Annotated[float, typer.Option(help="Seconds until the next heartbeat: 1 to 3600.")] = 30.0,
) -> None:
    """Says that runs are alive, for programs without an SDK. After two periods without another one they are LOST."""
    ignored = session.client.runs.log_heartbeats(run_ids, period=period)
    because = {
        "there is no such run": ignored.unknown,
        "not running": ignored.not_running,
        "deleted": ignored.deleted,
        "you may not change it": ignored.denied,
    }
    without = {run_id: why for why, those in because.items() for run_id in those}
    noted = len(set(run_ids)) - len(without)
    said = "".join(f"; not of {run_id}: {why}" for run_id, why in without.items())
    session.done(f"Noted heartbeats of {counted(noted, 'run')}{said}.", noted=noted, ignored=without)


@asks(app, "finish")
def finish_run(
    session: Session,
    run_id: RunId,
    status: Annotated[str, typer.Option(help="finished, failed or killed.")] = "finished",
) -> None:
    """Ends a run."""
    session.show(_document(session.client.runs.finish(run_id, status)))


@asks(app, "update")
def update_run(
    session: Session,
    run_id: RunId,
    name: NewName = None,
    description: NewDescription = None,
    status: Annotated[str | None, typer.Option(help="The new status, such as running.")] = None,
) -> None:
    """Changes the name, the description or the status of a run."""
    if name is None and description is None and status is None:
        raise typer.BadParameter("nothing to change; give --name, --description or --status")
    session.show(_document(session.client.runs.update(run_id, name=name, description=description, status=status)))


@asks(app, "delete")
def delete_run(session: Session, run_id: RunId) -> None:
    """Deletes a run. `restore` undoes it."""
    session.client.runs.delete(run_id)
    session.done(f"Deleted run {run_id}; undo it with: modelry run restore {run_id}", run_id=run_id)


@asks(app, "restore")
def restore_run(session: Session, run_id: RunId) -> None:
    """Restores a deleted run."""
    session.show(_document(session.client.runs.restore(run_id)))


@asks(app, "set-tags")
def set_tags(session: Session, run_id: RunId, tags: TagWords) -> None:
    """Sets tags, all or none."""
    given = pairs(tags)
    session.client.runs.set_tags(run_id, given)
    session.done(f"Set {', '.join(given)} of run {run_id}.", run_id=run_id, tags=given)


@asks(app, "delete-tags")
def delete_tags(session: Session, run_id: RunId, keys: TagKeys) -> None:
    """Removes tags, all or none."""
    session.client.runs.delete_tags(run_id, keys)
    session.done(f"Removed {', '.join(keys)} from run {run_id}.", run_id=run_id, keys=keys)


series.add_to(app)
logs.add_to(app)


def _columns(client: Client, runs: Sequence[Run], wanted: Sequence[str] | None) -> list[Column[Run]]:
    experiments = {run.experiment_id for run in runs}
    names = {each: client.experiments.get(each).name for each in experiments if len(experiments) > 1}
    columns: list[Column[Run]] = [
        Column("RUN ID", lambda run: run.run_id),
        Column("NAME", lambda run: run.name, wraps=True),
        Column("STATUS", lambda run: run.status),
        Column("STARTED", lambda run: run.start_time, spare=1),
        Column("LASTED", lambda run: lasted(run.start_time, run.end_time), spare=8),
    ]
    if names:
        columns.insert(2, Column("EXPERIMENT", lambda run: names[run.experiment_id], wraps=True))
    if wanted is not None:
        return columns + [_chosen(name) for name in wanted]
    return columns + [_chosen(name, spare=position) for position, name in enumerate(_usual(runs))]


def _usual(runs: Sequence[Run]) -> list[str]:
    """The metrics that most runs have, but those of the machine."""
    counts: dict[str, int] = {}
    for run in runs:
        for key in run.metrics:
            if not key.startswith("system/"):
                counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts, key=lambda key: (-counts[key], key))
    return [f"metrics.{key}" for key in ranked[:METRIC_COLUMNS]]


def _chosen(name: str, *, spare: int = 0) -> Column[Run]:
    kind, _, key = name.partition(".")
    if kind not in {"metrics", "params", "tags"} or not key:
        raise typer.BadParameter(f"--column {name!r} is not metrics.KEY, params.KEY or tags.KEY")
    title = key if kind == "metrics" else name
    return Column(title, lambda run: getattr(run, kind).get(key), wraps=True, spare=spare)


def _document(run: Run) -> dict[str, object]:
    """A run as JSON: `metrics` has the summary of each metric, by key."""
    document = fields_of(run)
    document["metrics"] = document.pop("summaries")
    return document
