"""`modelry run metrics` and `modelry run compare`: metrics of runs, as curves and side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import RunId, within
from modelry_cli.session import SHOWN, Session, asks
from modelry_cli.terminal import output, plot
from modelry_cli.terminal.output import Column, Format
from modelry_cli.terminal.words import clean, lasted, moment_of

if TYPE_CHECKING:
    from modelry import MetricColumns, MetricSummary, Run

SPARKLINE_POINTS = 24
Key = Annotated[str | None, typer.Argument(help="The metric. Default: a summary of all metrics.", metavar="KEY")]
Runs = Annotated[list[str], typer.Argument(help="Two or more runs.", metavar="RUN_ID...")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands for metrics to those for runs."""
    asks(app, "metrics")(read_metrics)
    asks(app, "compare")(compare_runs)


def read_metrics(
    session: Session,
    run_id: RunId,
    key: Key = None,
    draw: Annotated[bool, typer.Option("--plot", help="Draw the curve.")] = False,
    max_points: Annotated[
        int,
        typer.Option(min=0, help="Downsample the series for plotting. 0: all points.", callback=within(32)),
    ] = 0,
) -> None:
    """Shows the points of a metric, or a summary of all metrics of a run."""
    if key is None:
        _overview(session, run_id)
        return
    series = session.client.metrics.read(run_id, key, max_points=max_points or (plot.POINTS if draw else 0))
    if not series:
        present = ", ".join(session.client.runs.get(run_id, read=("metrics",)).metrics) or "none"
        output.refuse(f"run {run_id} has no metric {key!r}; it has: {present}")
        raise typer.Exit(1)
    if session.format is Format.JSON:
        session.show(series)
    elif draw:
        output.write_text(plot.curve(clean(key), series.steps, series.values, point_count=series.point_count))
    else:
        _points(series)


def compare_runs(
    session: Session,
    run_ids: Runs,
    differing: Annotated[bool, typer.Option("--differing", help="Only what differs.")] = False,
) -> None:
    """Shows params and metrics of runs side by side. Differences are bold."""
    runs = [session.client.runs.get(run_id, read=("params", "metrics")) for run_id in run_ids]
    params = _side_by_side([run.params for run in runs], differing)
    metrics = _side_by_side([run.metrics for run in runs], differing)
    if session.format is Format.JSON:
        session.show(
            {
                "runs": [_named(run) for run in runs],
                "params": {key: _by_run(runs, values) for key, values in params},
                "metrics": {key: _by_run(runs, values) for key, values in metrics},
            }
        )
        return
    about: dict[str, list[str]] = {
        "status": [run.status for run in runs],
        "lasted": [lasted(run.start_time, run.end_time) for run in runs],
    }
    rows: list[tuple[Sequence[object], bool]] = [(("run_id", *(run.run_id for run in runs)), False)]
    rows += [((key, *values), False) for key, values in about.items() if not differing or len(set(values)) > 1]
    for kind, found in (("params", params), ("metrics", metrics)):
        rows += [((f"{kind}.{key}", *values), len(set(map(str, values))) > 1) for key, values in found]
    output.write_grid(["", *(run.name for run in runs)], rows)


def _overview(session: Session, run_id: str) -> None:
    run = session.client.runs.get(run_id, read=("metrics",))
    if session.format is Format.JSON:
        session.show(run.summaries)
        return
    if not run.summaries:
        output.note(f"Run {run_id} has no metrics.")
        return
    curves = {
        columns.key: plot.sparkline(columns.values)
        for _, columns in session.client.metrics.read_many([run_id], max_points=SPARKLINE_POINTS)
    }
    columns: list[Column[MetricSummary]] = [
        Column("METRIC", lambda summary: summary.key, wraps=True),
        Column("CURVE", lambda summary: curves.get(summary.key, ""), spare=1),
        Column("LAST", lambda summary: summary.last_value),
        Column("STEP", lambda summary: summary.last_step),
        Column("MIN", lambda summary: summary.min_value),
        Column("MAX", lambda summary: summary.max_value),
        Column("POINTS", lambda summary: summary.point_count),
    ]
    output.write_list(list(run.summaries.values()), columns, nothing="")


def _points(series: MetricColumns) -> None:
    first = zip(series.steps[:SHOWN], series.times_ms[:SHOWN], series.values[:SHOWN], strict=True)
    rows = [((step, moment_of(time_ms), value), False) for step, time_ms, value in first]
    output.write_grid(["STEP", "TIME", series.key], rows)
    if len(series) > SHOWN:
        output.note(f"The first {SHOWN} of {len(series)} points; --plot draws all, --output json lists all.")


def _side_by_side(each: Sequence[Mapping[str, object]], differing: bool) -> list[tuple[str, list[object]]]:
    keys = sorted({key for values in each for key in values})
    rows = [(key, [values.get(key) for values in each]) for key in keys]
    return [row for row in rows if not differing or len(set(map(str, row[1]))) > 1]


def _by_run(runs: Sequence[Run], values: Sequence[object]) -> dict[str, object]:
    return {run.run_id: value for run, value in zip(runs, values, strict=True) if value is not None}


def _named(run: Run) -> dict[str, object]:
    return {"run_id": run.run_id, "name": run.name, "experiment_id": run.experiment_id, "status": run.status}
