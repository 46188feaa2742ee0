"""`modelry sync` where something can't be delivered: it is listed, and deleted on demand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Modelry
from tests.parts.deployment import Deployment

Read = Callable[..., Any]

NOWHERE = "127.0.0.1:9"
OFFLINE = """
import modelry
with modelry.start_run() as run:
    for step in range(6):
        modelry.log_metric("m", 0.5, step=step)
    modelry.log_text("hello", "a.txt")
print(run.id)
"""


def _offline(code: str = OFFLINE) -> str:
    """Logs in a process whose server never comes back. Returns the id of its run."""
    settings = {"MODELRY_TRACKING_URI": NOWHERE, "MODELRY_START_TIMEOUT": "100ms", "MODELRY_EXIT_TIMEOUT": "100ms"}
    made = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **settings},
        check=True,
    )
    return made.stdout.strip()


def _spool() -> Path:
    return Path(os.environ["MODELRY_SPOOL_DIR"])


def test_what_can_not_be_delivered_is_listed_and_discarded(modelry: Modelry, read: Read) -> None:
    run_id = _offline()

    undeliverable = modelry("sync")
    listed = read("sync", "--list")
    table = modelry("sync", "--list").out
    names = [Path(each["path"]).name for each in listed]
    unasked = modelry("sync", "--discard", *names)
    discarded = modelry("sync", "--discard", *names, "--yes")

    assert undeliverable.code == 1
    assert "modelry sync --list" in undeliverable.err
    assert "modelry sync --discard" in undeliverable.err
    by_kind = {each["kind"]: each for each in listed}
    requests, files = by_kind["requests"], by_kind["files"]
    assert (requests["points"], files["points"], files["entries"]) == (6, 0, 1)
    assert requests["entries"] > 0
    for each in listed:
        assert NOWHERE in each["address"]
        assert (each["run_ids"], each["in_use"], each["problem"]) == ([run_id], False, "")
        assert each["size_bytes"] > 0
        assert Path(each["path"]).name in table
    assert "6 points" in table
    assert (unasked.code, discarded.code) == (2, 0)
    for said in (unasked.err, discarded.out):
        assert "6 points" in said
        assert run_id in said
        assert NOWHERE in said
    assert list(_spool().iterdir()) == []
    assert modelry("sync").code == 0


def test_what_is_delivered_is_counted_in_files(modelry: Modelry, deployment: Deployment) -> None:
    """A process may leave several, such as one of its requests and one of the files that it logged."""
    _offline()
    left = len(list(_spool().iterdir()))

    said = modelry("sync", "--address", deployment.address).out

    assert left > 1
    assert re.fullmatch(rf"Delivered \d+ requests with 6 points from {left} files\.\n", said)


def test_a_discarded_part_is_told_as_json_and_the_others_stay(read: Read) -> None:
    _offline()
    files, requests = sorted(read("sync", "--list"), key=lambda each: str(each["kind"]))

    discarded = read("sync", "--discard", files["path"], "--yes")

    assert discarded == [files]
    assert read("sync", "--list") == [requests]


def test_what_a_running_process_writes_is_in_use_and_not_discarded(modelry: Modelry, read: Read) -> None:
    settings = {"MODELRY_TRACKING_URI": NOWHERE, "MODELRY_START_TIMEOUT": "100ms", "MODELRY_EXIT_TIMEOUT": "100ms"}
    code = "import modelry; modelry.log_metric('m', 0.5); modelry.flush(); print('logged', flush=True); input()"
    writer = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **settings, "MODELRY_TIMEOUT": "1s"},
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "logged\n"
        (listed,) = read("sync", "--list")
        answer = modelry("sync", "--discard", listed["path"], "--yes")
    finally:
        writer.communicate("\n", timeout=60)

    assert listed["in_use"]
    assert listed["points"] == 1
    assert answer.code == 1
    assert "in use" in answer.err
    (left,) = read("sync", "--list")
    assert (left["in_use"], left["points"]) == (False, 1)


def test_what_is_damaged_or_not_complete_is_listed_and_discarded(modelry: Modelry, read: Read) -> None:
    _offline()
    requests, files = sorted(_spool().iterdir(), key=lambda path: path.suffix)
    damaged = requests.with_suffix(".damaged")
    requests.rename(damaged)
    copying = files.with_suffix(".copying")
    files.rename(copying)
    (copying / "target.json").unlink()
    no_spool = _spool() / "1-2-3.spool"
    no_spool.write_bytes(b"no spool")

    listed = {Path(each["path"]): each for each in read("sync", "--list")}
    answer = modelry("sync", "--discard", *listed, "--yes")

    assert set(listed) == {damaged, copying, no_spool}
    assert listed[damaged]["points"] == 6
    assert all(each["problem"] for each in listed.values())
    assert answer.code == 0
    assert list(_spool().iterdir()) == []


def test_only_what_is_in_the_spool_is_discarded(modelry: Modelry, tmp_path: Path) -> None:
    _offline()
    elsewhere = tmp_path / "elsewhere.spool"
    elsewhere.write_bytes(b"mine")
    before = sorted(_spool().iterdir())
    beside = tmp_path / before[0].name
    beside.write_bytes(b"mine too")

    for word in (elsewhere, beside, "nothing.spool"):
        answer = modelry("sync", "--discard", word, "--yes")
        assert answer.code == 1
        assert "modelry sync --list" in answer.err

    assert sorted(_spool().iterdir()) == before
    assert elsewhere.exists()
    assert beside.exists()


@pytest.mark.parametrize(
    "words", [("--discard",), ("some.spool",), ("--list", "--discard", "some.spool"), ("--list", "--address", NOWHERE)]
)
def test_options_of_sync_that_do_not_go_together_are_wrong_use(modelry: Modelry, words: tuple[str, ...]) -> None:
    assert modelry("sync", *words).code == 2


def test_an_empty_spool_is_an_empty_list(modelry: Modelry, read: Read) -> None:
    assert read("sync", "--list") == []
    assert "Everything is delivered" in modelry("sync", "--list").err
