"""`modelry evaluation`: what versions were worth on data; `modelry.evaluate` makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, ModelName, OfVersion
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column

if TYPE_CHECKING:
    from modelry.types import Evaluation

app = typer.Typer(help="What versions were worth on data.", no_args_is_help=True)


_METRICS_SHOWN = 3


def _summary(evaluation: Evaluation) -> str:
    """The first metrics, those that were judged before the others, and how many more there are.

    A metric with a confidence interval is shown as `auc 0.9 [0.88, 0.92]`.
    """
    names = sorted(evaluation.metrics, key=lambda name: name not in evaluation.verdicts)
    texts = []
    for name in names[:_METRICS_SHOWN]:
        interval = evaluation.intervals.get(name)
        between = f" [{interval.low:.4g}, {interval.high:.4g}]" if interval else ""
        texts.append(f"{name} {evaluation.metrics[name]:.4g}{between}")
    shown, more = ", ".join(texts), len(names) - _METRICS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


@asks(app, "list")
def list_evaluations(
    session: Session,
    model: ModelName,
    number: OfVersion = None,
    name: Annotated[str, typer.Option(help="Only evaluations with this name, such as holdout.")] = "",
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest of each name, which counts.")] = False,
    limit: Limit = None,
) -> None:
    """Lists the evaluations of a model, the newest first, with three metrics of each: those with a threshold first.

    `modelry version compare` and `--output json` show all metrics.
    """
    columns: list[Column[Evaluation]] = [
        Column("EVALUATION ID", lambda each: each.evaluation_id, spare=6),
        Column("VERSION", lambda each: each.version_number),
        Column("NAME", lambda each: each.name),
        Column("PASSED", lambda each: each.passed if each.verdicts else "-"),
        Column("METRICS", _summary, wraps=True),
        Column("DATA", lambda each: each.dataset_digest, spare=3),
        Column("RUN ID", lambda each: each.run_id, spare=1),
        Column("DETAILS", lambda each: each.artifact_path, spare=5),
        Column("WHEN", lambda each: each.create_time, spare=2),
        Column("BY", lambda each: each.creator, spare=4),
    ]
    found = session.client.evaluations.list(model, number, name, latest_only=latest)
    session.show_all(found, columns, limit=limit, nothing=f"{model} has no evaluations.")


@asks(app, "get")
def get_evaluation(
    session: Session, evaluation_id: Annotated[str, typer.Argument(help="The evaluation.", metavar="EVALUATION_ID")]
) -> None:
    """Shows an evaluation."""
    session.show(session.client.evaluations.get(evaluation_id))
