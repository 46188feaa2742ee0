from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from modelry_server.targets import ROOMS
from tests.parts.deployment import REPOSITORY

SOURCES = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", "from modelry_cli.main import main; main()", *map(str, words)]


def environment() -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")},
        "PYTHONPATH": SOURCES,
    }


def modelry(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env=environment(), capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def up_in(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`modelry up` at work in a data folder, and its address."""
    up = subprocess.Popen(
        command("up", "--port", 0, "--data-folder", folder, "--server.drain", "1s", *more),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    address = next(line.split()[1] for line in up.stdout if line.split()[:1] == ["address"])
    yield up, address
    if up.poll() is None:
        up.kill()
    up.wait()
    up.stdout.close()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with up_in(tmp_path / "kept") as running:
        yield running


def test_up_makes_the_databases_answers_and_ends_in_peace(
    platform: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    up, address = platform

    made = modelry("model", "create", "bikes", "--address", address)
    status = modelry("db", "status", "--server.data-folder", tmp_path / "kept")
    up.send_signal(signal.SIGINT)

    assert made.returncode == 0, made.stderr
    assert status.returncode == 0, status.stdout
    assert up.wait(30) == 0


def test_up_with_auth_says_how_to_begin_and_lets_nobody_in_before(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with up_in(folder, "--auth") as (up, address):
        refused = modelry("model", "create", "bikes", "--address", address)
        up.send_signal(signal.SIGINT)
        assert up.stdout is not None
        said = up.stdout.read()

    assert refused.returncode == 1
    assert "modelry login" in refused.stderr
    assert f"--bootstrap-file {folder / 'bootstrap.token'}" in said
    assert (folder / "bootstrap.token").stat().st_mode & 0o777 == 0o600


def test_up_says_how_the_first_administrator_is_made_and_then_how_to_log_in(tmp_path: Path) -> None:
    def told(up: subprocess.Popen[str]) -> str:
        assert up.stdout is not None
        return "".join(itertools.takewhile(lambda line: not line.startswith("Ctrl-C"), up.stdout))

    settings = {**environment(), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with up_in(tmp_path / "kept", "--auth") as (up, address):
        (line,) = (line for line in told(up).splitlines() if "create-administrator" in line)
        words = [*shlex.split(line)[1:], "--address", address]
        made = subprocess.run(command(*words), env=settings, capture_output=True, text=True, timeout=60, check=False)
        up.send_signal(signal.SIGINT)
        up.wait(30)
    with up_in(tmp_path / "kept", "--auth") as (again, _):
        later = told(again)

    assert made.returncode == 0, made.stderr
    assert "create-administrator" not in later
    assert "modelry login" in later


def test_up_takes_the_databases_that_it_makes_beside_those_that_are_there(tmp_path: Path) -> None:
    assert modelry("db", "upgrade", "--target", "access", "--server.data-folder", tmp_path).returncode == 0

    with up_in(tmp_path) as (up, _):
        others = {room: modelry("server", "--target", room, "--server.data-folder", tmp_path) for room in ROOMS}

    assert {room: other.returncode for room, other in others.items()} == dict.fromkeys(ROOMS, 1)
    for room, other in others.items():
        assert f"another server uses the database of {room}" in other.stderr
        assert f"process {up.pid}" in other.stderr


@pytest.mark.parametrize("where", ["environment", "file"])
def test_up_listens_where_the_environment_or_the_file_says(tmp_path: Path, where: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    words: list[object] = ["up", "--data-folder", tmp_path / "new"]
    settings = environment()
    if where == "file":
        (tmp_path / "modelry.toml").write_text(f'[server]\nlisten = "127.0.0.1:{port}"\n')
        words += ["--config", tmp_path / "modelry.toml"]
    else:
        settings["MODELRY_SERVER_LISTEN"] = f"127.0.0.1:{port}"
    with subprocess.Popen(command(*words), env=settings, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        address = next(line.split()[1] for line in up.stdout if line.split()[:1] == ["address"])
        up.send_signal(signal.SIGINT)

    assert address == f"127.0.0.1:{port}"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        answer = modelry("up", "--port", port, "--data-folder", tmp_path / "new")

    assert answer.returncode == 1
    assert f"127.0.0.1:{port}" in answer.stderr
    assert "server.listen (`modelry up --port`)" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is made for a server that can't start"


def test_looking_at_databases_that_are_not_there_makes_none(tmp_path: Path) -> None:
    answer = modelry("db", "status", "--server.data-folder", tmp_path / "new")

    assert answer.returncode == 1
    assert answer.stdout.count(" none ") == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["status", "upgrade"])
def test_a_database_that_can_not_be_opened_is_named_with_the_reason(tmp_path: Path, verb: str) -> None:
    (tmp_path / "registry.db").write_text("nonsense " * 1000)
    url = "postgresql://ann:swordfish@127.0.0.1:1/x"
    folder = ("--server.data-folder", tmp_path)

    away = modelry("db", verb, "--target", "tracking", "--tracking.database-url", url, *folder)
    broken = modelry("db", verb, "--target", "registry", *folder)

    assert (away.returncode, broken.returncode) == (1, 1)
    assert "database of tracking, postgresql+psycopg://ann:***@127.0.0.1:1/x, can't be opened" in away.stderr
    assert "Connection refused" in away.stderr
    assert f"database of registry, sqlite:///{tmp_path}/registry.db, can't be opened: file is not" in broken.stderr
    assert [len(each.stderr.splitlines()) for each in (away, broken)] == [1, 1]


@pytest.mark.parametrize(
    "words",
    [("db", "status"), ("db", "upgrade"), ("server", "--server.listen", "127.0.0.1:0")],
    ids=["status", "upgrade", "server"],
)
def test_a_database_whose_host_says_nothing_is_named_without_its_password(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        place = f"127.0.0.1:{mute.getsockname()[1]}"
        url = f"postgresql://ann:swordfish@{place}/x"
        settings = ("--target", "tracking", "--tracking.database-url", url, "--server.data-folder", tmp_path)

        answer = modelry(*words, *settings)

    assert answer.returncode == 1
    named = f"database of tracking, postgresql+psycopg://ann:***@{place}/x, can't be opened: connection timeout expired"
    assert named in answer.stderr
    assert "swordfish" not in answer.stderr


@pytest.mark.parametrize("words", [("up", "--port", "0"), ("server", "--server.listen", "127.0.0.1:0")])
def test_a_second_server_on_the_same_databases_is_refused(
    platform: tuple[subprocess.Popen[str], str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    first, address = platform

    second = modelry(*words, "--server.data-folder", tmp_path / "kept")
    listed = modelry("experiment", "list", "--address", address)
    upgraded = modelry("db", "upgrade", "--server.data-folder", tmp_path / "kept")

    said = f"another server uses the database of access in the folder {tmp_path / 'kept'}: process {first.pid}; stop it"
    assert "server.data_folder (`modelry up --data-folder`)" in second.stderr
    assert (second.returncode, second.stderr.startswith(said), second.stderr.count("\n")) == (1, True, 1), second.stderr
    assert (listed.returncode, upgraded.returncode) == (0, 0)


def test_what_a_killed_server_leaves_does_not_hinder_the_next(
    platform: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    first, _ = platform
    first.kill()
    first.wait()
    words = ("server", "--server.data-folder", tmp_path / "kept", "--server.listen", "127.0.0.1:0")

    with subprocess.Popen(command(*words), env=environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        server.terminate()

    assert "is listening" in line


def test_a_data_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    answer = modelry("up", "--port", 0, "--data-folder", tmp_path / "file" / "data")

    assert answer.returncode == 1
    assert "Not a directory" in answer.stderr
    assert "db upgrade" not in answer.stderr
    assert len(answer.stderr.splitlines()) == 2


def test_o05_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    folder = ("--server.data-folder", tmp_path)
    modelry("db", "upgrade", *folder)
    with closing(sqlite3.connect(tmp_path / "access.db")) as database, database:
        database.execute("UPDATE access_schema_version SET version_num = '9999'")

    answers = [
        modelry(*words, *folder, "--target", "access") for words in (("db", "status"), ("db", "upgrade"), ("server",))
    ]

    assert [answer.returncode for answer in answers] == [1, 1, 1]
    assert ["9999 of a newer Modelry" in answer.stderr for answer in answers] == [True] * 3
    assert "db upgrade" not in "".join(answer.stderr for answer in answers)


def test_a05_a_host_that_others_reach_is_refused_without_authentication(tmp_path: Path) -> None:
    answer = modelry("up", "--data-folder", tmp_path, "--server.listen", "0.0.0.0:5100")

    assert answer.returncode == 1
    assert "authentication" in answer.stderr


def test_o05_a_server_refuses_databases_that_were_not_upgraded_and_says_what_to_run(tmp_path: Path) -> None:
    folder = ("--server.data-folder", tmp_path)

    refused = modelry("server", "--target", "access", *folder)
    before = modelry("db", "status", *folder)
    upgraded = modelry("db", "upgrade", *folder)
    after = modelry("db", "status", *folder)

    assert refused.returncode == 1
    assert "modelry db upgrade" in refused.stderr
    assert (before.returncode, upgraded.returncode, after.returncode) == (1, 0, 0)
    assert [line.split()[0] for line in upgraded.stdout.splitlines()] == ["access", "tracking", "artifacts", "registry"]


@pytest.mark.parametrize(("target", "called"), [("all", "modelry"), ("access", "modelry access")])
def test_a_server_says_where_it_listens(tmp_path: Path, target: str, called: str) -> None:
    folder = ("--server.data-folder", tmp_path)
    modelry("db", "upgrade", *folder)
    words = ("server", "--target", target, *folder, "--server.listen", "127.0.0.1:0", "--server.log-level", "error")

    with subprocess.Popen(command(*words), env=environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        server.terminate()

    assert re.fullmatch(rf"{called} is listening on port \d+\n", line)


@pytest.mark.parametrize("called", ["plain", "with a space"])
def test_a_server_on_a_unix_socket_names_the_address_at_which_clients_reach_it(tmp_path: Path, called: str) -> None:
    folder = ("--server.data-folder", tmp_path / "data")
    modelry("db", "upgrade", *folder)
    with tempfile.TemporaryDirectory() as short:  # the path of a socket has a limit
        words = ("server", *folder, "--server.listen", f"unix:{called}.sock", "--server.log-level", "info")
        with subprocess.Popen(
            command(*words), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=short
        ) as server:
            assert server.stdout is not None
            line = server.stdout.readline().rstrip()
            address = line.removeprefix("modelry is listening at ")
            listed = modelry("experiment", "list", "--address", address)
            server.terminate()
            _, log = server.communicate()

    assert address.startswith(f"unix://{short}/{called[:4]}")
    assert listed.returncode == 0, listed.stderr
    for event in ("started", "stopped"):
        [said] = [json.loads(each) for each in log.splitlines() if f'"server.{event}"' in each]
        assert "port" not in said
        assert said["socket"] == f"{called}.sock"


def test_the_command_that_upgrades_names_the_file_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "its settings.toml"
    file.write_text('[server]\ndata_folder = "data"\n')

    refused = modelry("server", "--target", "access", "--config", file)
    status = modelry("db", "status", "--config", file)

    command = f"run, with the same options and MODELRY_ variables: modelry db upgrade --config '{file}'"
    assert f"{command} --target access\n" in refused.stderr
    assert f"{command}\n" in status.stderr


def test_a_relative_folder_in_a_file_is_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "modelry.toml"
    file.write_text('[server]\ndata_folder = "data"\n[access]\ndatabase_url = "sqlite:///kept/access.db"\n')

    upgraded = modelry("db", "upgrade", "--config", file)

    assert upgraded.returncode == 0, upgraded.stderr
    assert (tmp_path / "etc" / "data" / "tracking.db").is_file()
    assert (tmp_path / "etc" / "kept" / "access.db").is_file()


def test_all_mistakes_in_the_settings_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "modelry.toml"
    file.write_text('[tracking]\nadress = "x"\n')

    answer = modelry("server", "--config", file, "--server.drain", "5")

    assert answer.returncode == 1
    assert "tracking.adress" in answer.stderr
    assert "server.drain" in answer.stderr


@pytest.mark.parametrize("words", ["modelry_server", "modelry_cli up", "modelry_cli db status"])
def test_a_typo_in_a_variable_of_the_server_is_refused(tmp_path: Path, words: str) -> None:
    variables = {
        "MODELRY_SERVER_CALL_LIMT": "5s",
        "MODELRY_TRACKING_URI": "127.0.0.1:1",
        "MODELRY_SERVER_DATA_FOLDER": str(tmp_path / "new"),
        "MODELRY_SERVER_LISTEN": "127.0.0.1:0",
    }

    answer = subprocess.run(
        [sys.executable, "-m", *words.split()],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode == 1
    assert "did you mean MODELRY_SERVER_CALL_LIMIT?" in answer.stderr
    assert "MODELRY_TRACKING_URI" not in answer.stderr
    assert not (tmp_path / "new").exists()


def test_a_setting_that_does_not_exist_is_wrong_use() -> None:
    answer = modelry("server", "--tracking.adress", "x")

    assert answer.returncode == 2
    assert "--tracking.address" in answer.stderr


def test_an_output_that_the_shell_closed_is_no_fault(platform: tuple[subprocess.Popen[str], str]) -> None:
    line = " ".join(map(shlex.quote, command("run", "list", "--output", "json", "--address", platform[1])))

    closed = subprocess.run(
        ["sh", "-c", f"{line} >&-"], env=environment(), stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )

    assert (closed.returncode, closed.stderr) == (0, "")


def test_listing_needs_no_server_code_and_help_no_client() -> None:
    program = (
        "import sys; from modelry_cli.tree import app\n"
        "try: app(sys.argv[1:], prog_name='modelry')\n"
        "except SystemExit: pass\n"
        "found = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(found & {'modelry', 'modelry_server', 'grpc', 'sqlalchemy'}))"
    )

    def loaded(*words: str) -> str:
        line = [sys.executable, "-c", program, *words]
        ran = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=60, check=True)
        return ran.stdout.splitlines()[-1]

    assert loaded("--help") == "[]"
    assert loaded("run", "--help") == "[]"
    assert loaded("run", "list", "--address", "127.0.0.1:9") == "['grpc', 'modelry']"


@pytest.mark.parametrize(
    "words",
    [("db", "status"), ("db", "upgrade"), ("server", "--server.listen", "127.0.0.1:0"), ("up", "--port", "0")],
    ids=["status", "upgrade", "server", "up"],
)
def test_a_folder_of_another_state_with_the_same_version_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = ("--server.data-folder", tmp_path)
    modelry("db", "upgrade", *folder)
    with closing(sqlite3.connect(tmp_path / "tracking.db")) as database, database:
        database.execute("ALTER TABLE metric_summaries DROP COLUMN min_bits")

    answer = modelry(*words, *folder)

    assert answer.returncode == 1
    assert "the database of tracking" in answer.stderr
    assert "there is no column metric_summaries.min_bits" in answer.stderr
    assert f"move the folder {tmp_path} away" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_the_commands_for_databases_need_no_settings_of_the_store(tmp_path: Path) -> None:
    options = ("--server.data-folder", tmp_path / "data", "--artifacts.store", "minio", "--artifacts.s3-bucket", "b")

    upgraded, state = modelry("db", "upgrade", *options), modelry("db", "status", *options)
    mistyped = modelry("db", "status", *options, "--artifacts.s3-buket", "b")

    assert (upgraded.returncode, state.returncode) == (0, 0), upgraded.stderr + state.stderr
    assert mistyped.returncode != 0
