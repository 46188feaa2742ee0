"""What a process left in the spool is delivered by another one, once."""

from __future__ import annotations

from pathlib import Path

from modelry._sdk.recording import sync
from modelry._sdk.recording.spool import left_in
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import run_script, start_again, use

OFFLINE_SCRIPT = """
import modelry
modelry.set_experiment({experiment!r})
with modelry.start_run(run_name="alone") as run:
    for step in range(1000):
        modelry.log_metric("m", 0.5, step=step)
    modelry.log_text("hello", "a.txt")
    print(run.id)
"""


def test_what_a_process_left_is_delivered_by_another_and_only_once(
    own_on_sqlite: Deployment, spool: Path, unique: str
) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    script = run_script(OFFLINE_SCRIPT.format(experiment=unique), own_on_sqlite.address, spool)
    run_id = script.stdout.strip()
    spooled = {path: path.read_bytes() for path in left_in(spool)}
    without_server = sync.deliver(folder=spool)
    start_again(own_on_sqlite)
    told: list[tuple[int, int]] = []
    report = sync.deliver(folder=spool, progress=lambda done, total: told.append((done, total)))
    for path, content in spooled.items():
        path.write_bytes(content)
    again = sync.deliver(folder=spool)

    stored = client.runs.get(run_id)
    assert script.returncode == 0, script.stderr
    assert "modelry sync" in script.stderr
    assert (without_server.files_left, len(without_server.problems)) == (1, 1)
    assert (report.files_delivered, report.files_left, report.requests_left) == (1, 0, 0)
    assert told[-1] == (report.requests_delivered, report.requests_delivered)
    assert again.requests_refused == 1
    assert (stored.name, stored.status) == ("alone", "FINISHED")
    assert stored.summaries["m"].point_count == 1000
    assert client.artifacts.read_bytes(f"runs/{run_id}", "a.txt") == b"hello"


def test_what_was_damaged_in_the_spool_is_told(own_on_sqlite: Deployment, spool: Path, unique: str) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    script = run_script(OFFLINE_SCRIPT.format(experiment=unique), own_on_sqlite.address, spool)
    (path,) = left_in(spool)
    path.write_bytes(path.read_bytes().replace(b"WriteMetrics\0", b"WriteMetricz\0"))
    start_again(own_on_sqlite)
    report = sync.deliver(folder=spool)

    damaged = path.with_suffix(".damaged")
    assert damaged.exists()
    assert [problem for problem in report.problems if problem.startswith(path.name) and str(damaged) in problem]
    assert client.runs.get(script.stdout.strip()).metrics == {}


def test_a_spool_that_is_no_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    report = sync.deliver(folder=tmp_path / "file")

    assert [problem for problem in report.problems if "MODELRY_SPOOL_DIR" in problem]
    assert sync.deliver(folder=tmp_path / "nowhere").problems == ()
