"""On a narrow screen nothing is cut without a sign: columns are left out and named, or each entry is a block."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelry import Client
from modelry.types import Dataset, DatasetInput, MetricColumns
from modelry_cli.terminal import output, words
from modelry_cli.terminal.output import Column
from tests.cli.conftest import Modelry

WIDTHS = range(20, 81)
LONGEST_ID = 36


@pytest.fixture
def tables(client: Client, name: str, tmp_path: Path) -> list[Sequence[object]]:
    """The commands that show tables, with something in each."""
    experiment = client.experiments.create(name, description="What the weather does", tags={"team": "travel"})
    runs = [
        client.runs.create(
            experiment.experiment_id,
            name=f"candidate {number}",
            params={"learning_rate": f"0.{number}", "optimizer": "stochastic gradient descent"},
            metrics={"validation_accuracy": 0.123456789 * number, "validation_loss": -1e-7 / number},
        ).run_id
        for number in (1, 2)
    ]
    run_id = runs[0]
    points = MetricColumns(
        "series", array("q", [1, 2]), array("q", [1_700_000_000_000] * 2), array("d", [0.5, 1e300]), 2
    )
    client.runs.log_metrics(run_id, {"series": points})
    client.datasets.log(run_id, [DatasetInput(Dataset(name=f"{name}-data", digest="d" * 16), "training")])
    client.artifacts.upload_bytes(f"runs/{run_id}", "folder/of a model/weights.bin", b"0")
    client.models.create(name, description="Minutes of delay", tags={"team": "travel"})
    client.versions.create(name, f"runs:/{run_id}/folder", reason="a first one")
    client.promotions.promote(name, 1, "Staging", reason="approved by the team")
    client.aliases.set(name, "champion", 1)
    return [
        ("experiment", "list", "--filter", f"name = '{name}'"),
        ("run", "list", "--experiment", name),
        ("run", "list", "--experiment", name, "--column", "params.optimizer", "--column", "metrics.validation_loss"),
        ("run", "metrics", run_id),
        ("dataset", "list", "--filter", f"name = '{name}-data'"),
        ("artifact", "list", run_id, "--recursive"),
        ("model", "list", "--filter", f"name = '{name}'"),
        ("version", "list", name),
        ("promotion", "list", name),
        ("audit", "list", name),
        ("event", "list", "--model", name),
        ("workspace", "list"),
        ("run", "get", run_id),
        ("run", "compare", *runs),
        ("run", "metrics", run_id, "series"),
        ("version", "get", name, "1"),
    ]


def _letters(*texts: str) -> Counter[str]:
    return Counter("".join("".join(texts).split()))


def _asked(command: Sequence[object], modelry: Modelry, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    """What a command asks to be written: the function, and its arguments."""
    asked: list[tuple[Any, Any, Any]] = []
    with monkeypatch.context() as patch:
        for kind in ("write_list", "write_one", "write_grid"):
            real = getattr(output, kind)
            patch.setattr(output, kind, lambda *args, real=real, **named: asked.append((real, args, named)))
        answer = modelry(*command)
    assert answer.code == 0, answer.err
    (only,) = asked
    return only


def test_nothing_is_cut_without_a_sign(
    tables: list[Sequence[object]],
    modelry: Modelry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in (words, output):
        monkeypatch.setattr(module, "ago", lambda time: "2 hours ago")
    lists = 0
    for command in tables:
        write, args, named = _asked(command, modelry, monkeypatch)
        if write is output.write_grid:
            args = (args[0], list(args[1]))
        write(*args, **named)
        whole = capsys.readouterr().out
        for width in WIDTHS:
            with monkeypatch.context() as patch:
                patch.setattr(output, "_NOT_A_TERMINAL_COLUMNS", width)
                write(*args, **named)
            out, err = capsys.readouterr()
            if write is output.write_list:
                _judge_list(args[0], args[1], width, out, err)
                lists += 1
            else:
                assert _letters(whole) <= _letters(out), (command, width, out)
    assert lists == 12 * len(WIDTHS)


def _judge_list(items: Sequence[Any], columns: Sequence[Column[Any]], width: int, out: str, err: str) -> None:
    """Judges that what is shown is whole, and what is not shown is named."""
    where = f"{[column.title for column in columns]} at {width} columns:\n{out}"
    named = re.split(r"\.\s", err.partition("too narrow: ")[2] + " ")[0]  # a note may follow that there are more
    left_out = " ".join(named.split()).split(", ")
    shown = [column for column in columns if column.title not in left_out]
    cells = {column.title: [output._cell(column.cell(item)).plain for item in items] for column in shown}
    titles = [title for title, texts in cells.items() if any(texts)]
    assert shown, where
    assert _letters(*titles, *(text for texts in cells.values() for text in texts)) <= _letters(out), where
    first = cells[shown[0].title]
    if not shown[0].wraps and max(map(len, first)) <= LONGEST_ID:  # a column with longer ones may be folded
        assert all(text in out for text in first), where
    if max(map(len, out.splitlines())) > width:
        assert f"{shown[0].title}: " in out, where


def test_entries_are_blocks_where_not_even_an_id_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns: list[Column[dict[str, str]]] = [
        Column("RUN ID", lambda row: row["id"]),
        Column("NAME", lambda row: row["name"], wraps=True),
        Column("NOTE", lambda row: row["note"], spare=1),
    ]
    rows = [
        {"id": "0" * 32, "name": "steady", "note": ""},
        {"id": "1" * 32, "name": "other", "note": "good"},
    ]

    monkeypatch.setattr(output, "_NOT_A_TERMINAL_COLUMNS", 30)
    output.write_list(rows, columns, nothing="")

    assert capsys.readouterr().out.splitlines() == [
        f"RUN ID: {'0' * 32}",
        "NAME: steady",
        "",
        f"RUN ID: {'1' * 32}",
        "NAME: other",
        "NOTE: good",
    ]


def test_a_file_of_the_spool_is_never_broken_into_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns: list[Column[str]] = [
        Column("FILE", lambda row: row, whole=True),
        Column("WAITING", lambda row: "6 points and 12 other entries", wraps=True),
    ]
    file = f"{'1' * 19}-4711-0a1b2c3d.spool"

    for width in WIDTHS:
        monkeypatch.setattr(output, "_NOT_A_TERMINAL_COLUMNS", width)
        output.write_list([file], columns, nothing="")
        assert file in capsys.readouterr().out


def test_json_is_the_same_on_any_screen(modelry: Modelry, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = modelry("workspace", "list", "--output", "json").out
    monkeypatch.setattr(output, "_NOT_A_TERMINAL_COLUMNS", 20)

    assert modelry("workspace", "list", "--output", "json").out == wide
    assert json.loads(wide)
