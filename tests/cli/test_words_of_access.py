"""What the commands say to who may not do something, or sees only a part: what is wrong, and what would be right."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Modelry
from tests.cli.test_authentication import Shell
from tests.parts.deployment import running
from tests.parts.eventually import eventually

NO_ROLE = "or you have no role there: `modelry whoami` shows where you have one"
NOWHERE = "0" * 32
MILLISECONDS = re.compile(r"\d{12,}")
JOB = """
import sys, modelry
with modelry.start_run() as run:
    modelry.log_metric("loss", 0.5)
    modelry.flush()
    print(run.id, flush=True)
    sys.stdin.readline()
    modelry.log_metric("loss", 0.25)
"""


@dataclass(frozen=True, slots=True)
class People:
    """`root` administers the installation, `anna` the workspace `risk`, where `ben` is a writer; `eve` has no role."""

    root: Shell
    anna: Shell
    ben: Shell
    eve: Shell


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A server with authentication, and who uses it."""
    folder = tmp_path_factory.mktemp("locked")
    with running("all", folder, settings={"server.authentication": "required"}) as deployment:
        root = Shell(deployment, tmp_path_factory.mktemp("root"))
        file = str(folder / "bootstrap.token")
        assert root.run("user", "create-administrator", "root", "--bootstrap-file", file).returncode == 0

        def person(name: str) -> Shell:
            root.read("user", "create", name)
            invitation = root.read("token", "create", "--user", name)["secret"]
            shell = Shell(deployment, tmp_path_factory.mktemp(name))
            secret = shell.read("token", "rotate", MODELRY_TOKEN=invitation)["secret"]
            return Shell(deployment, shell.home, {"MODELRY_TOKEN": secret})

        known = People(root, person("anna"), person("ben"), person("eve"))
        root.read("workspace", "create", "risk")
        for role, name in (("admin", "anna"), ("writer", "ben")):
            root.read("role", "bind", role, "--user", name, "--workspace", "risk")
        yield known


@pytest.fixture
def refused(people: People) -> Callable[..., str]:
    """Runs a command of somebody that must be refused, and answers with what it says."""

    def run(who: Shell, *words: str, **variables: str) -> str:
        ran = who.run(*words, **variables)
        assert (ran.returncode, ran.stdout) == (1, ""), ran.stdout + ran.stderr
        return ran.stderr

    return run


def test_what_may_be_there_for_others_is_said_to_be_so(people: People, refused: Callable[..., str]) -> None:
    experiment = people.ben.read("experiment", "create", "flights", "--workspace", "risk")["experiment_id"]

    for words in (
        ("run", "get", NOWHERE),
        ("experiment", "get", experiment),
        ("model", "get", "delays", "--workspace", "default"),
        ("artifact", "list", f"runs/{NOWHERE}"),
    ):
        assert NO_ROLE in refused(people.eve, *words)
    assert "`modelry role list` shows all" in refused(people.root, "role", "get", "reeder")


def test_a_job_that_has_lost_its_role_is_told_so_and_keeps_what_it_logged(
    people: People, refused: Callable[..., str]
) -> None:
    root, place = people.root, ("--workspace", "risk")
    root.read("user", "create", "job", "--service-account")
    root.read("role", "bind", "writer", "--user", "job", *place)
    secret = root.read("token", "create", "--user", "job")["secret"]
    job = Shell(root.deployment, people.eve.home / "job", {"MODELRY_TOKEN": secret, "MODELRY_WORKSPACE": "risk"})
    with subprocess.Popen(
        [sys.executable, "-c", JOB],
        env=job.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running_job:
        assert running_job.stdout is not None
        run_id = running_job.stdout.readline().strip()
        root.read("role", "unbind", "writer", "--user", "job", *place)
        eventually(lambda: job.run("run", "get", run_id).returncode)
        _, said = running_job.communicate("go on\n", timeout=60)

    left = job.run("sync")
    root.read("role", "bind", "writer", "--user", "job", *place)
    eventually(lambda: not job.run("run", "get", run_id).returncode)
    delivered = job.run("sync")

    assert NO_ROLE in said
    assert left.returncode == 1
    assert NO_ROLE in left.stderr
    assert left.stderr.index("modelry whoami") < left.stderr.index("--discard")
    assert delivered.returncode == 0, delivered.stderr
    assert delivered.stdout.startswith("Delivered ")


def test_a_token_that_ends_with_the_one_that_makes_it_comes_with_a_warning(
    people: People, refused: Callable[..., str]
) -> None:
    root = people.root
    root.read("user", "create", "ci", "--service-account")
    usual = root.run("token", "create", "--user", "ci", "--expires-in", "30d")
    short = root.run("token", "create", "--expires-in", "1d").stdout.strip()

    made = root.run("token", "create", "--user", "ci", MODELRY_TOKEN=short)
    asked = root.run("token", "create", "--user", "ci", "--expires-in", "2h", MODELRY_TOKEN=short)
    late = refused(root, "token", "create", "--user", "ci", "--expires-in", "10d", MODELRY_TOKEN=short)
    far = refused(root, "token", "create", "--user", "ci", "--expires-in", "99w")

    assert re.search(r"warning: it ends at \d{4}-\d\d-\d\d \d\d:\d\d UTC, with the token that you use now", made.stderr)
    assert "modelry token rotate" in made.stderr
    assert "warning" not in usual.stderr + asked.stderr
    assert re.search(r"expire_time: \d{4}-\S+Z is after the end of the token of the caller, \d{4}-\S+Z;", late)
    assert "rotate yours first with `modelry token rotate`" in late
    assert re.search(r"is not within 365 days from now \(\d{4}-\S+Z to \d{4}-\S+Z\)", far)
    assert not MILLISECONDS.search(late + far)


def test_the_roles_of_somebody_are_listed_wherever_they_are(people: People) -> None:
    own = people.anna.run("role", "bindings", "--user", "anna")
    by_root = people.root.read("role", "bindings", "--user", "anna")
    nothing = people.root.run("role", "bindings", "--user", "eve")
    elsewhere = people.root.run("role", "bindings", "--user", "anna", "--workspace", "default")
    empty = people.root.run("role", "bindings")

    assert re.search(r"admin +anna +workspace risk", own.stdout)
    assert "Roles of the groups that it is in are not among these" in own.stderr
    assert [(each["role"], each["place"]["workspace"]) for each in by_root] == [("admin", "risk")]
    assert "eve has no role of their own in any place that you may see." in nothing.stderr
    assert "anna has no role of their own in the workspace default." in elsewhere.stderr
    assert "Nobody has a role in the workspace default." in empty.stderr


def test_a_list_of_tokens_says_that_it_leaves_out_what_has_ended(people: People) -> None:
    token_id = people.eve.read("token", "create")["token_id"]
    people.eve.read("token", "revoke", token_id)

    listed, with_ended = people.eve.run("token", "list"), people.eve.run("token", "list", "--ended")

    assert token_id not in listed.stdout
    assert "--ended shows them" in listed.stderr
    assert (token_id in with_ended.stdout, "--ended" in with_ended.stderr) == (True, False)


def test_an_administrator_of_a_workspace_is_told_what_is_missing(people: People, refused: Callable[..., str]) -> None:
    for words in (("token", "revoke", "--all", "--user", "ben", "--yes"), ("token", "create", "--user", "ben")):
        said = refused(people.anna, *words)

        assert "'anna' does not have the permission" in said
        assert "an administrator of the installation can give you a role that allows it" in said
        assert not re.search("[0-9a-f]{32}", said)


def test_who_may_not_look_for_people_is_told_so(people: People, refused: Callable[..., str]) -> None:
    there = refused(people.ben, "role", "bind", "reader", "--user", "eve", "--workspace", "risk")
    nobody = refused(people.ben, "role", "bind", "reader", "--user", "ada", "--workspace", "risk")

    assert "there is no principal 'eve' (or you may not look for it: others are found by who may give roles" in there
    assert nobody == there.replace("'eve'", "'ada'")


def test_what_a_permission_takes_is_said(people: People, refused: Callable[..., str]) -> None:
    place = ("--workspace", "risk")
    capped = people.ben.read("token", "create", "--cap", "reader")["secret"]
    bound = people.root.read("token", "create", "--only-workspace", "risk")["secret"]

    lacking = refused(people.ben, "role", "bindings", *place)
    by_cap = refused(people.ben, "experiment", "create", "mine", *place, MODELRY_TOKEN=capped)
    by_workspace = refused(people.root, "workspace", "create", "more", MODELRY_TOKEN=bound)

    assert "'bindings.read' in the workspace 'risk'" in lacking
    assert "an administrator of that workspace can give you a role that allows it" in lacking
    assert "the credential of the call is limited to a role without it" in by_cap
    assert "use a token without that limit" in by_cap
    assert "the credential of the call is limited to some workspaces" in by_workspace
    assert "can give you a role" not in by_cap + by_workspace


def test_who_has_no_role_is_told_how_to_get_one_here(people: People) -> None:
    said = people.eve.run("whoami", "--workspace", "risk").stderr

    assert "You have no role in the workspace risk" in said
    assert "modelry role bind ROLE --user eve --workspace risk" in said


def test_a_bootstrap_file_that_is_gone_may_be_used(people: People, refused: Callable[..., str]) -> None:
    file = str(people.root.deployment.folder / "bootstrap.token")

    said = refused(people.eve, "user", "create-administrator", "eve", "--bootstrap-file", file)

    assert f"{file} is not there: the server deletes it once it was used" in said


def test_without_authentication_the_option_is_named_that_says_whose_tokens(modelry: Modelry, tmp_path: Path) -> None:
    for words in (("token", "list"), ("token", "create")):
        answer = modelry(*words)

        assert (answer.code, answer.out) == (2, "")
        assert "--user" in answer.err
        assert "principal_id" not in answer.err
