"""`modelry login` and `modelry logout`, in processes of their own as people run them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from modelry._sdk.credentials.claims import claims_of
from tests.parts.deployment import Deployment, running
from tests.parts.eventually import eventually
from tests.parts.guarded_server import GuardedServer, guarded
from tests.parts.oidc_provider import CLIENT, OidcProvider

CANARY = "mdy_t_canary0123456789"
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running("all", tmp_path_factory.mktemp("platform")) as deployment:
        yield deployment


@pytest.fixture
def server(platform: Deployment, oidc_provider: OidcProvider) -> Iterator[GuardedServer]:
    """Takes the canary, and the access tokens of the provider."""

    def is_valid(token: str) -> bool:
        return token == CANARY or (claims_of(token) or {}).get("iss") == oidc_provider.issuer

    with guarded(platform.address, is_valid, issuer=oidc_provider.issuer, client_id=CLIENT) as made:
        yield made


@pytest.fixture
def begin(server: GuardedServer, tmp_path: Path) -> Begin:
    """Starts a command of a user who has no credentials yet."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "MODELRY_SPOOL_DIR": str(tmp_path / "spool")}
    environment = {**inherited, **own, "MODELRY_TRACKING_URI": server.address, "BROWSER": "true", "COLUMNS": "80"}

    def start(*words: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "modelry_cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, env=environment)

    return start


def test_a_token_is_read_from_standard_input_and_shown_nowhere(
    begin: Begin, server: GuardedServer, tmp_path: Path
) -> None:
    login = begin("login", "--token")
    assert login.stdin is not None
    shown = eventually(lambda: psutil.Process(login.pid).cmdline())
    out, err = login.communicate(f"{CANARY}\n", timeout=60)
    listed, _ = begin("workspace", "list", "--output", "json").communicate(timeout=60)
    again, refused = begin("login", "--token").communicate("wrong", timeout=60)

    assert login.returncode == 0, err
    assert f"Logged in to {server.address}." in out
    assert [each["name"] for each in json.loads(listed)] == ["default"]
    assert CANARY not in f"{shown}{out}{err}{listed}{again}{refused}"
    assert "nothing was kept" in refused
    assert (tmp_path / "config" / "modelry" / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_the_token_is_no_argument(begin: Begin) -> None:
    login = begin("login", "--token", CANARY)

    _, err = login.communicate("", timeout=60)

    assert login.returncode == 2
    assert "Usage" in err


def test_a_person_logs_in_by_the_browser_and_out_again(
    begin: Begin, server: GuardedServer, oidc_provider: OidcProvider
) -> None:
    login = begin("login", "--no-browser", "--issuer", oidc_provider.issuer)
    assert login.stderr is not None
    url = next(line.strip() for line in login.stderr if line.strip().startswith("http"))
    redirect = oidc_provider.authorize(url, "ada")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(redirect, timeout=20) as answer:
        page = answer.read().decode()
    out, err = login.communicate(timeout=60)
    got, _ = begin("experiment", "get", "0", "--output", "json").communicate(timeout=60)
    bye, _ = begin("logout").communicate(timeout=60)
    after, refused = begin("experiment", "get", "0").communicate(timeout=60)

    assert "You are logged in" in page
    assert login.returncode == 0, err
    assert "is renewed by itself" in " ".join(out.split())
    assert json.loads(got)["experiment_id"] == "0"
    assert "Logged out" in bye
    assert f"modelry login --server {server.address}" in " ".join(refused.split())
    assert after == ""


def test_a_person_logs_in_on_another_device(begin: Begin, oidc_provider: OidcProvider) -> None:
    login = begin("login", "--device", "--output", "json", "--issuer", oidc_provider.issuer)
    assert login.stderr is not None
    line = next(line for line in login.stderr if "code" in line)
    oidc_provider.device_approve(line.split()[-1], "ada")

    out, _ = login.communicate(timeout=60)

    assert login.returncode == 0
    document = json.loads(out)
    assert document["issuer"] == oidc_provider.issuer
    assert not any("token" in key for key in document)


@pytest.fixture
def evil(platform: Deployment, oidc_provider: OidcProvider) -> Iterator[GuardedServer]:
    """Names the provider of the real server, and takes every token."""
    info = {"issuer": oidc_provider.issuer, "client_id": CLIENT}
    with guarded(platform.address, lambda token: True, **info) as made:
        yield made


def logs_in_by_code(login: subprocess.Popen[str], provider: OidcProvider) -> str:
    """Types the code that a command shows; what it said before."""
    assert login.stderr is not None
    said = ""
    for line in login.stderr:
        if "enter the code" in line:
            provider.device_approve(line.split()[-1], "ada")
            return said
        said += line
    return said


def test_a_login_says_where_it_goes_before_it_begins(
    begin: Begin, server: GuardedServer, oidc_provider: OidcProvider
) -> None:
    login = begin("login", "--device", "--issuer", oidc_provider.issuer)

    said = " ".join(logs_in_by_code(login, oidc_provider).split())
    login.communicate(timeout=60)

    assert f"Logging in to {server.address} at the issuer {oidc_provider.issuer}, which you name, as {CLIENT}." in said
    assert login.returncode == 0


def test_a_token_that_is_good_elsewhere_needs_a_yes(
    begin: Begin, server: GuardedServer, evil: GuardedServer, oidc_provider: OidcProvider
) -> None:
    first = begin("login", "--device", "--issuer", oidc_provider.issuer)
    logs_in_by_code(first, oidc_provider)
    first.communicate(timeout=60)

    refused = begin("login", "--device", "--issuer", oidc_provider.issuer, "--server", evil.address)
    _, err = refused.communicate(timeout=60)
    sent = [given for _, given in evil.seen if given]
    agreed = begin("login", "--device", "--yes", "--issuer", oidc_provider.issuer, "--server", evil.address)
    logs_in_by_code(agreed, oidc_provider)
    out, _ = agreed.communicate(timeout=60)

    said = " ".join(err.split())
    assert refused.returncode == 2
    assert f"The login to {server.address} is of the same issuer." in said
    assert f"{evil.address} could use it there in your name" in said
    assert "confirm it with --yes" in said
    assert "enter the code" not in said
    assert sent == []
    assert agreed.returncode == 0
    assert f"Logged in to {evil.address}." in " ".join(out.split())


@pytest.mark.parametrize(("word", "code"), [("n", 1), ("y", 0)])
def test_a_person_at_a_terminal_is_asked(
    begin: Begin, evil: GuardedServer, oidc_provider: OidcProvider, word: str, code: int
) -> None:
    first = begin("login", "--device", "--issuer", oidc_provider.issuer)
    logs_in_by_code(first, oidc_provider)
    first.communicate(timeout=60)
    ours, theirs = pty.openpty()

    login = begin("login", "--device", "--server", evil.address, stdin=theirs)
    os.close(theirs)
    os.write(ours, f"{word}\n".encode())
    said = logs_in_by_code(login, oidc_provider)
    out, _ = login.communicate(timeout=60)
    os.close(ours)

    assert login.returncode == code, said
    assert f"Log in to {evil.address}?" in " ".join(said.split())
    assert f"Logged in to {evil.address}." in " ".join(out.split()) or word == "n"
    assert bool([given for _, given in evil.seen if given]) == (word == "y")


@pytest.mark.parametrize("more", [[], ["--yes"]])
def test_an_issuer_that_a_server_names_is_not_agreed_to_by_a_program(
    begin: Begin, server: GuardedServer, oidc_provider: OidcProvider, more: list[str]
) -> None:
    login = begin("login", "--device", *more)
    _, err = login.communicate(timeout=60)

    said = " ".join(err.split())
    assert login.returncode == 2
    assert f"{server.address} says that you log in to it at {oidc_provider.issuer}, as {CLIENT}." in said
    assert "confirm it with --issuer and the URL of your identity provider" in said
    assert "enter the code" not in said


def test_another_issuer_than_the_expected_one_ends_the_login(begin: Begin, oidc_provider: OidcProvider) -> None:
    login = begin("login", "--device", "--yes", "--issuer", "https://idp.example")
    _, err = login.communicate(timeout=60)

    said = " ".join(err.split())
    assert login.returncode == 1
    assert f"at '{oidc_provider.issuer}', and not at https://idp.example, which you expect" in said


def test_a_newcomer_answers_one_question_and_is_not_asked_again(
    begin: Begin, server: GuardedServer, oidc_provider: OidcProvider
) -> None:
    ours, theirs = pty.openpty()

    login = begin("login", "--device", "--output", "json", stdin=theirs)
    os.close(theirs)
    os.write(ours, b"y\n")
    said = " ".join(logs_in_by_code(login, oidc_provider).split())
    out, _ = login.communicate(timeout=60)
    os.close(ours)
    again = begin("login", "--device")
    told = logs_in_by_code(again, oidc_provider)
    again.communicate(timeout=60)

    assert (login.returncode, again.returncode) == (0, 0)
    assert said.count("[y/N]") == 1
    assert f"Log in to {server.address}? {server.address} says that you log in to it at {oidc_provider.issuer}" in said
    assert json.loads(out)["server"] == server.address
    assert "which it names" in told
    assert "[y/N]" not in told


def test_a14_neither_a_process_list_nor_the_spool_nor_a_log_holds_a_token(
    begin: Begin, server: GuardedServer, tmp_path: Path
) -> None:
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG)\n"
        "import modelry, sys\n"
        "with modelry.start_run():\n"
        "    modelry.log_metric('loss', 1.0)\n"
        "    modelry.log_text('text', 'a.txt')\n"
        "    print('logged', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = {
        **os.environ,
        "MODELRY_TRACKING_URI": server.address,
        "MODELRY_TOKEN": f"{CANARY}-refused",
        "MODELRY_SPOOL_DIR": str(tmp_path / "spool"),
        "MODELRY_EXIT_TIMEOUT": "1s",
        "MODELRY_SNAPSHOT": "1",
    }
    job = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert job.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(job.stdout or ()), daemon=True)
    reader.start()
    eventually(lambda: "logged\n" in lines)
    shown = psutil.Process(job.pid).cmdline()
    assert job.stdin is not None
    job.stdin.close()
    assert job.wait(60) == 0
    reader.join(20)
    job.stdout.close()

    spooled = [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    assert any(b"loss" in path.read_bytes() for path in spooled)
    assert not any(CANARY.encode() in path.read_bytes() for path in spooled)
    assert CANARY not in "".join(lines) + str(shown)
    assert "is refused" in "".join(lines)


def test_logging_out_everywhere_forgets_all(begin: Begin, tmp_path: Path) -> None:
    begin("login", "--token").communicate(CANARY, timeout=60)

    out, told = begin("logout", "--all").communicate(timeout=60)
    nothing, _ = begin("logout", "--all").communicate(timeout=60)
    missing = begin("logout")
    missing.communicate(timeout=60)

    assert "Logged out of 127.0.0.1:" in out
    assert "stays valid" in told
    assert "There is no login" in nothing
    assert missing.returncode == 1
    assert CANARY not in (tmp_path / "config" / "modelry" / "credentials.json").read_text()
