"""What a process left in the spool is delivered by another one, once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.recording import sync
from modelry._sdk.spooling import holders, kept, queued
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.spooling.spool import Spool, left_in
from modelry._sdk.spooling.undelivered import undelivered
from modelry.api.tracking import v1 as tracking
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import leave, run_script, start_again, use

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
    assert (without_server.files_left, len(without_server.problems)) == (2, 2)
    assert all("`modelry sync --address HOST:PORT`" in problem for problem in without_server.problems)
    assert not any("MODELRY_TRACKING_URI" in problem for problem in without_server.problems)
    assert (without_server.points_left, report.points_delivered) == (1000, 1000)
    assert (report.files_delivered, report.files_left, report.requests_left) == (2, 0, 0)
    assert told[-1] == (report.requests_delivered, report.requests_delivered)
    assert (again.requests_refused, again.problems) == (0, ())
    assert (stored.name, stored.status) == ("alone", "FINISHED")
    assert stored.summaries["m"].point_count == 1000
    assert client.artifacts.read_bytes(f"runs/{run_id}", "a.txt") == b"hello"


def test_what_was_damaged_in_the_spool_is_told(own_on_sqlite: Deployment, spool: Path, unique: str) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    script = run_script(OFFLINE_SCRIPT.format(experiment=unique), own_on_sqlite.address, spool)
    (path,) = left_in(spool)
    path.write_bytes(path.read_bytes().replace(b"WriteMetrics ", b"WriteMetricz "))
    start_again(own_on_sqlite)
    report = sync.deliver(folder=spool)

    damaged = path.with_suffix(".damaged")
    assert damaged.exists()
    assert [problem for problem in report.problems if problem.startswith(path.name) and str(damaged) in problem]
    assert client.runs.get(script.stdout.strip()).metrics == {}


@pytest.mark.parametrize(
    "unreadable",
    [
        QueuedRequest(queued.WRITE_METRICS, b"\xff\xff", points=1),
        QueuedRequest(queued.LOG_BATCH, b"\xff"),
        QueuedRequest(queued.START_RUN, b"\x01"),
        QueuedRequest(queued.START_RUN, b"\x09\0\0\0cut off"),
        queued.start_run(b"\xff", tracking.CreateRunRequest(run_id="1" * 32).SerializeToString()),
        queued.start_run(b"", b"\xff"),
    ],
    ids=["points", "texts", "no length", "cut off", "experiment", "run"],
)
def test_a_record_that_is_no_message_of_its_method_holds_up_nothing(
    own_on_sqlite: Deployment, spool: Path, unreadable: QueuedRequest
) -> None:
    """As of another release."""
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    server = {"address": own_on_sqlite.address, "workspace": "default"}
    tag, other = (
        QueuedRequest(queued.LOG_BATCH, tracking.LogBatchRequest(run_id=run_id, tags={key: "b"}).SerializeToString())
        for key in ("same file", "next file")
    )
    for name, requests in (("1-1-a", [unreadable, tag]), ("2-2-b", [other])):
        made = Spool.create(spool, server, name=name)
        made.append(requests)
        made.close()

    before = undelivered(spool)
    report = sync.deliver(folder=spool, progress=lambda done, total: None)

    assert [each.problem for each in before] == ["damaged", ""]
    assert {"same file", "next file"} <= set(client.runs.get(run_id).tags)
    assert (report.files_delivered, report.requests_delivered, report.files_left) == (2, 2, 0)
    (problem,) = report.problems
    assert problem.startswith("1-1-a.spool: damaged, 1 record could not")
    assert [path.name for path in spool.iterdir()] == ["1-1-a.damaged"]


def test_a_spool_that_is_no_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    report = sync.deliver(folder=tmp_path / "file")

    assert [problem for problem in report.problems if "MODELRY_SPOOL_DIR" in problem]
    assert sync.deliver(folder=tmp_path / "nowhere").problems == ()


def test_files_of_a_process_that_ended_at_once_are_uploaded_or_told(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    known = client.runs.create().run_id
    own_on_sqlite.kill()
    code = f"""
import modelry
modelry.log_text("of a run that is there", "a.txt", run_id={known!r})
modelry.log_text("of a run that is not there", "a.txt", run_id={"0" * 32!r})
os._exit(1)
"""
    run_script(code, own_on_sqlite.address, spool)
    start_again(own_on_sqlite)

    report = sync.deliver(folder=spool)

    assert (report.requests_delivered, report.requests_left) == (1, 1)
    assert client.artifacts.read_bytes(f"runs/{known}", "a.txt") == b"of a run that is there"
    (problem,) = report.problems
    assert "0" * 32 in problem
    assert kept.left_in(spool)[0].name in problem


def test_a_spool_in_which_others_can_write_delivers_nothing_of_theirs(
    own_on_sqlite: Deployment, tmp_path: Path
) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    shared = tmp_path / "shared"
    kept.keep_content(shared, {"address": own_on_sqlite.address}, f"runs/{run_id}", "stolen", b"private")
    planted = Spool.create(shared, {"address": own_on_sqlite.address})
    planted.append([QueuedRequest("upload", b'{"folder": "../home/.ssh"}')])
    planted.close()
    shared.chmod(0o777)

    report = sync.deliver(folder=shared)

    assert (report.requests_delivered, report.requests_refused) == (0, 0)
    (problem,) = report.problems
    assert "not yours alone" in problem
    assert list(client.artifacts.list(f"runs/{run_id}")) == []
    assert planted.path.exists()


def test_a_request_of_no_known_kind_is_never_sent(own_on_sqlite: Deployment, spool: Path) -> None:
    use(own_on_sqlite)
    made = Spool.create(spool, {"address": own_on_sqlite.address})
    made.append([QueuedRequest("/modelry.api.tracking.v1.RunService/DeleteRun", b"")])
    made.close()

    report = sync.deliver(folder=spool)

    assert (report.requests_delivered, report.requests_refused) == (0, 1)
    assert "DeleteRun" in report.problems[0]


def params(run_id: str, key: str) -> QueuedRequest:
    message = tracking.LogBatchRequest(run_id=run_id, params={key: "1"})
    return QueuedRequest(queued.LOG_BATCH, message.SerializeToString())


def test_a_spool_waits_for_an_earlier_one_of_its_process_that_another_delivery_has(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    first = Spool.create(spool, {"address": own_on_sqlite.address})
    first.append([params(run_id, "first")])
    first.close()
    held = Spool.open(first.path)
    later = Spool.create(spool, {"address": own_on_sqlite.address})
    later.append([params(run_id, "later")])
    later.close()

    while_held = sync.deliver(folder=spool)
    known = client.runs.get(run_id).params
    held.close()
    report = sync.deliver(folder=spool)

    assert (while_held.files_in_use, while_held.files_left, known) == (1, 1, {})
    assert "what the same process logged before is not delivered yet" in while_held.problems[0]
    assert (report.files_left, report.problems) == (0, ())
    assert client.runs.get(run_id).params == {"first": "1", "later": "1"}


def test_a_spool_waits_behind_an_obstacle_of_its_own_process_only(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one machine two processes may have had the same number, as in containers."""
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    for address, key in (("127.0.0.1:1", "first"), (own_on_sqlite.address, "later")):
        made = Spool.create(spool, {"address": address})
        made.append([params(run_id, key)])
        made.close()
    as_another = {**holders.me(), "machine": "another"}
    with monkeypatch.context() as patched:
        patched.setattr(holders, "me", lambda: as_another)
        made = Spool.create(spool, {"address": own_on_sqlite.address})
        made.append([params(run_id, "other")])
        made.close()

    report = sync.deliver(folder=spool)

    assert (report.files_left, report.files_delivered) == (2, 1)
    assert client.runs.get(run_id).params == {"other": "1"}


def test_a_copy_waits_for_an_earlier_one_of_the_same_file_that_is_in_use(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    server = {"address": own_on_sqlite.address}
    kept.keep_content(spool, server, f"runs/{run_id}", "a.txt", b"of this process, which still works")
    newer = kept.keep_content(spool, server, f"runs/{run_id}", "a.txt", b"of a process that has ended")
    leave(newer.folder)

    report = sync.deliver(folder=spool)

    assert (report.files_in_use, report.files_left, report.files_delivered) == (1, 1, 0)
    assert list(client.artifacts.list(f"runs/{run_id}")) == []


MANY = """
import resource
import modelry
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
told = []
report = modelry.sync(progress=lambda done, total: told.append((done, total)))
print(report.files_delivered, report.files_left, told[-1])
"""


def test_more_files_are_delivered_than_a_process_can_have_open(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    for number in range(300):
        made = Spool.create(spool, {"address": own_on_sqlite.address})
        made.append([params(run_id, f"p{number}")])
        made.close()

    ended = run_script(MANY, own_on_sqlite.address, spool)

    assert ended.stdout == "300 0 (300, 300)\n", ended.stderr
    assert len(client.runs.get(run_id).params) == 300
    assert left_in(spool) == []


def test_a_file_that_cant_be_opened_is_left_and_told(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    made = Spool.create(spool, {"address": own_on_sqlite.address})
    made.append([params(run_id, "p")])
    made.close()
    (spool / "other.spool").write_bytes(b"no spool")
    told: list[tuple[int, int]] = []

    report = sync.deliver(folder=spool, progress=lambda done, total: told.append((done, total)))

    assert (report.files_left, report.files_delivered, told) == (1, 1, [(1, 1)])
    assert "other.spool is not a spool" in report.problems[0]


def test_what_an_offline_run_logged_is_kept_in_order_where_the_server_hung(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    """`start_run` waits for the server longer than what waits in memory may: all of it goes to the spool at once."""
    code = "import modelry\nprint(modelry.start_run().id)\nmodelry.log_metric('m', 1.0)\n"
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"127.0.0.1:{hanging.getsockname()[1]}"
        ended = run_script(code, address, spool, MODELRY_START_TIMEOUT="4s", MODELRY_EXIT_TIMEOUT="1s")
    run_id = ended.stdout.strip()

    report = sync.deliver(own_on_sqlite.address, folder=spool)

    client = Client(own_on_sqlite.address)
    assert (report.requests_left, report.problems) == (0, ())
    assert client.runs.get(run_id).status.name == "FINISHED"
    assert list(client.metrics.read(run_id, "m").values) == [1.0]
