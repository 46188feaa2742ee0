"""The commands on a server that knows its callers: from the bootstrap token to a job that may do one thing only."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelry import Client
from modelry.errors import CredentialInvalid, GrantTooWide, NotFound, PermissionMissing
from tests.cli.test_up import SOURCES
from tests.parts.deployment import Deployment, running
from tests.parts.eventually import eventually

SECRET = re.compile(r"mdy_[a-z]_[0-9A-Za-z]{36}")


@dataclass(frozen=True, slots=True)
class Shell:
    """A user of a machine: commands run in processes of their own, with a folder for settings of this user."""

    deployment: Deployment
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `modelry` with these words; `given` is its standard input."""
        environment = self.environment(**variables)
        command = [sys.executable, "-m", "modelry_cli", *words]
        return subprocess.run(
            command, input=given, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of a process of this user."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
        return {
            **inherited,
            **self.deployment.environment(),
            "PYTHONPATH": SOURCES,
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "MODELRY_SPOOL_DIR": str(self.home / "spool"),
            **self.variables,
            **variables,
        }

    def read(self, *words: str, **variables: str) -> Any:
        """The JSON of a command that must succeed."""
        ran = self.run(*words, "--output", "json", **variables)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@dataclass(frozen=True, slots=True)
class Installation:
    """A server with an administrator, made as its users make it; and what the making came to."""

    deployment: Deployment
    admin: Shell
    bootstrap: str
    made: subprocess.CompletedProcess[str]

    def client(self, secret: str, workspace: str = "default") -> Client:
        """The SDK's client with a token."""
        return Client(self.deployment.address, workspace, token=secret)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with authentication whose first administrator is `root`."""
    folder = tmp_path_factory.mktemp("locked")
    with running("all", folder, settings={"server.authentication": "required"}) as deployment:
        token = (folder / "bootstrap.token").read_text().strip()
        shell = Shell(deployment, tmp_path_factory.mktemp("root"))
        made = shell.run("user", "create-administrator", "root", "--bootstrap-file", str(folder / "bootstrap.token"))
        yield Installation(deployment, shell, token, made)


@pytest.fixture
def robot(installation: Installation, name: str) -> Callable[..., Client]:
    """Makes a service account with a role, and answers with a client that has its token."""

    def make(role: str, *place: str, workspace: str = "default", **token: str) -> Client:
        account = f"robot-{name}-{role}"
        admin = installation.admin
        admin.read("user", "create", account, "--service-account")
        where = place if "--everywhere" in place else ("--workspace", workspace, *place)
        admin.read("role", "bind", role, "--user", account, *where)
        options = [word for key, value in token.items() for word in (f"--{key.replace('_', '-')}", value)]
        secret = admin.read("token", "create", "--user", account, *options)["secret"]
        return installation.client(secret, workspace)

    return make


def test_the_first_administrator_is_made_once_and_logged_in(installation: Installation) -> None:
    made, admin = installation.made, installation.admin
    again = admin.run("user", "create-administrator", "eve", given=installation.bootstrap)

    assert made.returncode == 0, made.stderr
    assert "You are logged in as this one" in made.stdout
    assert not SECRET.search(made.stdout + made.stderr)
    kept = admin.home / "config" / "modelry" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not (installation.deployment.folder / "bootstrap.token").exists()
    assert again.returncode == 1
    assert not SECRET.search(again.stdout + again.stderr)
    assert "root" in admin.run("user", "list").stdout


def test_the_token_of_an_administrator_who_can_not_be_logged_in_is_shown(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("is no folder")
    with running("all", tmp_path / "platform", settings={"server.authentication": "required"}) as deployment:
        shell = Shell(deployment, tmp_path)
        bootstrap = (tmp_path / "platform" / "bootstrap.token").read_text()

        made = shell.run("user", "create-administrator", "root", given=bootstrap)

        assert made.returncode == 1
        assert "This is the token of the administrator" in made.stderr
        assert not SECRET.search(made.stderr)
        assert Client(deployment.address, token=made.stdout.strip()).whoami().principal.name == "root"


@pytest.mark.parametrize("given", ["", "mdy_t_" + "0" * 36, "secret"])
def test_what_is_no_bootstrap_token_is_refused_without_showing_it(installation: Installation, given: str) -> None:
    by_input = installation.admin.run("user", "create-administrator", "eve", given=given)
    by_variable = installation.admin.run("user", "create-administrator", "eve", MODELRY_BOOTSTRAP_TOKEN=given)

    for ran, source in ((by_input, "standard input"), (by_variable, "MODELRY_BOOTSTRAP_TOKEN" if given else "")):
        assert (ran.returncode, ran.stdout) == (1, "")
        assert f"{source} has no bootstrap token" in ran.stderr
        assert not given or given not in ran.stderr


def test_whoami_says_who_calls_and_what_that_may_do(installation: Installation) -> None:
    drawn = installation.admin.run("whoami").stdout
    document = installation.admin.read("whoami", "--workspace", "default")

    assert re.search(r"name +root\n", drawn)
    assert re.search(r"everywhere +admin +", drawn)
    assert (document["principal"]["name"], document["authenticated"]) == ("root", True)
    assert document["grants"][0]["roles"] == ["admin"]
    assert document["token"]["hint"] in drawn
    assert "secret" not in document["token"]


def test_nobody_is_told_to_log_in(installation: Installation, tmp_path: Path) -> None:
    stranger = Shell(installation.deployment, tmp_path)

    answer = stranger.run("user", "list")

    assert (answer.returncode, answer.stdout) == (1, "")
    assert "modelry login" in answer.stderr


def test_people_make_tokens_of_their_own_and_rotate_the_one_they_use(installation: Installation) -> None:
    made = installation.admin.read("token", "create", "--description", "for a test")
    mine = Shell(installation.deployment, installation.admin.home, {"MODELRY_TOKEN": made["secret"]})

    rotated = mine.read("token", "rotate")
    revoked = mine.run("token", "revoke", made["token_id"])

    assert rotated["token_id"] == made["token_id"]
    assert revoked.returncode == 0, revoked.stderr
    with pytest.raises(CredentialInvalid):
        eventually(lambda: not installation.client(rotated["secret"]).whoami())


def test_a_person_gets_the_first_token_from_an_administrator_and_logs_in(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    admin, grace = installation.admin, Shell(installation.deployment, tmp_path)
    admin.read("user", "create", name)

    secret = admin.read("token", "create", "--user", name, "--expires-in", "1d")["secret"]
    logged_in = grace.run("login", "--token", given=secret)
    second = admin.run("token", "create", "--user", name)

    assert logged_in.returncode == 0, logged_in.stderr
    assert "The invitation was exchanged" in logged_in.stderr
    assert secret not in (grace.home / "config" / "modelry" / "credentials.json").read_text()
    assert grace.read("whoami")["principal"]["name"] == name
    assert not grace.read("whoami")["token"]["invitation"]
    assert grace.run("token", "create").returncode == 0
    assert second.returncode == 1
    assert "who makes and rotates tokens without help" in second.stderr


def test_an_invitation_is_told_of_and_is_also_exchanged_by_hand(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    admin = installation.admin
    admin.read("user", "create", name)
    lost = admin.run("token", "create", "--user", name)
    made = admin.run("token", "create", "--user", name)
    [listed] = admin.read("token", "list", "--user", name)
    job = Shell(installation.deployment, tmp_path, {"MODELRY_TOKEN": made.stdout.strip()})

    refused = job.run("token", "create")
    exchanged = job.run("token", "rotate")

    assert "It is an invitation" in lost.stderr
    assert listed["invitation"]
    assert refused.returncode == 1
    assert "this token is an invitation" in refused.stderr
    assert exchanged.returncode == 0, exchanged.stderr
    assert job.run("whoami").returncode == 1
    assert job.run("token", "create", MODELRY_TOKEN=exchanged.stdout.strip()).returncode == 0
    assert job.run("whoami", MODELRY_TOKEN=lost.stdout.strip()).returncode == 1


def test_the_secret_of_a_token_goes_into_a_file_by_itself(installation: Installation, tmp_path: Path) -> None:
    made = installation.admin.run("token", "create", "--description", "for a file")
    file = tmp_path / "token"
    file.write_text(made.stdout)
    job = Shell(installation.deployment, tmp_path, {"MODELRY_TOKEN_FILE": str(file)})

    rotated = job.run("token", "rotate")
    file.write_text(rotated.stdout)

    for ran in (made, rotated):
        assert SECRET.fullmatch(ran.stdout.strip())
        assert not SECRET.search(ran.stderr)
        assert re.search(r"description +for a file\n", ran.stderr)
        assert "The secret is shown this once" in ran.stderr
    assert job.read("whoami")["token"]["description"] == "for a file"


@pytest.fixture
def grace(installation: Installation, tmp_path: Path, name: str) -> Shell:
    """A person who has logged in with the first token, and has no role."""
    installation.admin.read("user", "create", name)
    shell = Shell(installation.deployment, tmp_path)
    secret = installation.admin.run("token", "create", "--user", name).stdout
    assert shell.run("login", "--token", given=secret).returncode == 0
    return shell


def test_a_login_gets_the_new_secret_of_its_token(installation: Installation, grace: Shell, name: str) -> None:
    file = grace.home / "config" / "modelry" / "credentials.json"
    before = file.read_text()

    other = grace.run("token", "create").stdout.strip()
    other = grace.run("token", "rotate", MODELRY_TOKEN=other).stdout.strip()
    untouched = file.read_text()
    rotated = grace.run("token", "rotate")

    assert untouched == before
    assert rotated.returncode == 0, rotated.stderr
    assert f"The login in {file} has the new one." in rotated.stderr
    assert rotated.stdout.strip() in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert grace.read("whoami")["token"]["hint"] == rotated.stdout.strip()[-4:]

    by_id = grace.run("token", "rotate", grace.read("whoami")["token"]["token_id"], MODELRY_TOKEN=other)
    after = grace.read("whoami")
    logged_in = grace.run("login", "--token", given=other)

    assert "has the new one" in by_id.stderr
    assert after["token"]["hint"] == by_id.stdout.strip()[-4:]
    assert logged_in.returncode == 0, logged_in.stderr
    assert grace.read("whoami")["token"]["token_id"] != after["token"]["token_id"]


def test_of_rotations_at_once_a_login_has_the_last_one(grace: Shell) -> None:
    with ThreadPoolExecutor() as pool:
        ran = list(pool.map(lambda _: grace.run("token", "rotate"), range(3)))

    own = grace.read("whoami")["token"]
    kept = (grace.home / "config" / "modelry" / "credentials.json").read_text()
    (secret,) = SECRET.findall(kept)
    assert [each.returncode for each in ran] == [0, 0, 0], [each.stderr for each in ran]
    assert grace.read("token", "get", own["token_id"])["hint"] == secret[-4:]


def test_who_has_no_role_is_not_told_to_create_a_workspace(grace: Shell) -> None:
    for words in (("experiment", "list"), ("workspace", "get", "default"), ("run", "list", "--workspace", "nowhere")):
        answer = grace.run(*words)

        assert (answer.returncode, answer.stdout) == (1, "")
        assert "or you have no role there: `modelry whoami` shows where you have one" in answer.stderr
        assert "workspace create" not in answer.stderr


def test_tokens_name_who_made_them(installation: Installation, grace: Shell, name: str) -> None:
    own = grace.read("token", "create")
    first = grace.read("whoami")["token"]

    got = grace.run("token", "get", first["token_id"]).stdout
    listed = grace.run("token", "list", COLUMNS="200").stdout

    admin, me = (shell.read("whoami")["principal"]["principal_id"] for shell in (installation.admin, grace))
    assert (first["creator_id"], own["creator_id"]) == (admin, me)
    assert re.search(rf"principal +{name}\ncreator +root\n", got)
    assert re.search(rf"{own['token_id']} .* {name}\n", listed)
    assert re.search(rf"{first['token_id']} .* root\n", listed)


def test_audit_records_name_who_did_it(installation: Installation, grace: Shell, name: str) -> None:
    admin, place = installation.admin, ("--workspace", name)
    admin.read("workspace", "create", name)
    admin.read("model", "create", "delays", *place)
    admin.read("role", "bind", "reader", "--user", name, *place, "--model", "delays")
    root_id = admin.read("whoami")["principal"]["principal_id"]
    token_id = grace.read("token", "create")["token_id"]
    grace.read("token", "rotate", token_id, "--expires-in", "2d")

    seen_by_admin = admin.run("audit", "list", "--access", "--kind", "principal")
    bindings = admin.run("audit", "list", "--access", "--kind", "role_binding")
    tokens = admin.run("audit", "list", "--access", "--kind", "token", "--of", token_id)
    seen_by_grace = grace.run("audit", "list", "delays", *place)
    (record,) = grace.read("audit", "list", "delays", *place)
    of_token = admin.read("audit", "list", "--access", "--kind", "token", "--of", token_id)
    of_binding = admin.read("audit", "list", "--access", "--kind", "role_binding", "--limit", "1")

    assert re.search(rf"root +principal\.created +principal {name} +kind=user", seen_by_admin.stdout)
    assert re.search(rf"root +role_binding\.created +role binding reader of {name}, model delays \(", bindings.stdout)
    assert re.search(rf"{name} +token\.created +token {token_id} of {name}\n", tokens.stdout)
    assert re.search(rf"{name} +token\.rotated .*expire_time: \d{{4}}-\d\d-\d\d [\d:]+ -> \d{{4}}-", tokens.stdout)
    assert re.search(r"root +model\.created", seen_by_grace.stdout)
    assert (record["actor"], record["actor_name"]) == (root_id, "root")
    assert [each["principal_name"] for each in of_token] == ["", name]
    assert [each["principal_name"] for each in of_binding] == [name]
    assert grace.read("whoami")["token"]["token_id"] in {each["credential_id"] for each in of_token}


def test_places_have_the_names_of_experiments_and_models(installation: Installation, grace: Shell, name: str) -> None:
    admin, place = installation.admin, ("--workspace", name)
    admin.read("workspace", "create", name)
    experiment_id = admin.read("experiment", "create", "flights", *place)["experiment_id"]
    model_id = admin.read("model", "create", "delays", *place)["model_id"]
    admin.read("role", "bind", "reader", "--user", name, *place, "--experiment", "flights")
    admin.read("role", "bind", "reader", "--user", name, *place, "--model", "delays")

    listed, own = admin.run("role", "bindings", *place).stdout, grace.run("whoami").stdout

    for shown in (listed, own):
        assert f"experiment flights ({experiment_id}) of {name}" in shown
        assert f"model delays ({model_id}) of {name}" in shown
    admin.run("model", "delete", "delays", *place, "--yes")
    assert f"model {model_id} of {name}" in admin.run("role", "bindings", *place).stdout


def test_a_role_for_one_workspace_hides_all_others(
    installation: Installation, robot: Callable[..., Client], name: str
) -> None:
    installation.admin.read("workspace", "create", name)

    client = robot("writer", workspace=name)

    assert client.experiments.create("mine").workspace == name
    assert [each.name for each in client.workspaces.list()] == [name]
    (grant,) = client.whoami().grants
    assert (grant.place.workspace, grant.roles) == (name, ("writer",))
    with pytest.raises(NotFound):
        client.experiments.get("0")  # of the workspace default


def test_a_token_can_be_capped_to_reading(robot: Callable[..., Client]) -> None:
    client = robot("writer", cap="reader")

    assert client.experiments.get("0").experiment_id == "0"
    with pytest.raises(PermissionMissing):
        client.experiments.create("not mine")


def test_nobody_gives_more_than_they_may_do(
    installation: Installation, robot: Callable[..., Client], name: str
) -> None:
    installation.admin.read("role", "create", name, "--permission", "bindings.write", "--permission", "bindings.read")
    client = robot(name)
    caller = client.whoami().principal

    with pytest.raises(GrantTooWide):
        client.roles.bind("writer", principal=caller.principal_id)


def test_the_last_administrator_stays(installation: Installation) -> None:
    answer = installation.admin.run("role", "unbind", "admin", "--user", "root", "--everywhere", "--yes")
    disabled = installation.admin.run("user", "disable", "root")

    assert (answer.returncode, disabled.returncode) == (1, 1)
    assert "nobody would be left" in answer.stderr
    assert "nobody would be left" in disabled.stderr


@pytest.fixture
def delays(installation: Installation, name: str) -> Callable[[], str]:
    """Makes a workspace with the model `delays`, which has a version in Production; answers with its name."""

    def make() -> str:
        secret = installation.admin.read("token", "create", "--expires-in", "1h")["secret"]
        root = installation.client(secret, name)
        root.workspaces.create(name)
        root.models.create("delays")
        run_id = root.runs.create().run_id
        root.artifacts.upload_bytes(f"runs/{run_id}", "model/weights", b"1")
        root.versions.create("delays", f"runs:/{run_id}/model")
        root.promotions.promote("delays", 1, "Production")
        return name

    return make


def test_the_recipe_for_versions_without_promotions_holds(
    installation: Installation, robot: Callable[..., Client], delays: Callable[[], str]
) -> None:
    workspace = delays()
    permissions = ("models.read", "files.read", "runs.read", "versions.create")
    words = [word for each in permissions for word in ("--permission", each)]
    installation.admin.read("role", "create", f"{workspace}-publisher", *words)
    client = robot(f"{workspace}-publisher", workspace=workspace)
    source = client.versions.get("delays", 1).source

    made = client.versions.create("delays", source)

    assert made.version_number == 2
    for stage in ("Staging", "Production", "Archived"):
        with pytest.raises(PermissionMissing):
            client.promotions.promote("delays", 2, stage)
    with pytest.raises(PermissionMissing):
        client.models.update("delays", description="mine")


def test_a_writer_moves_versions_up_to_staging_and_an_approver_to_production(
    robot: Callable[..., Client], delays: Callable[[], str]
) -> None:
    workspace = delays()
    writer, approver = (robot(role, workspace=workspace) for role in ("writer", "approver"))

    writer.versions.create("delays", writer.versions.get("delays", 1).source)
    writer.promotions.promote("delays", 2, "Staging")

    with pytest.raises(PermissionMissing):
        writer.promotions.promote("delays", 2, "Production")
    assert approver.promotions.promote("delays", 2, "Production").version.stage == "Production"
    with pytest.raises(PermissionMissing):
        approver.runs.create()


def test_the_recipe_for_archiving_without_deleting_holds(
    installation: Installation, robot: Callable[..., Client], delays: Callable[[], str]
) -> None:
    workspace = delays()
    role = f"{workspace}-archivist"
    installation.admin.read("role", "create", role, "--permission", "models.read", "--permission", "versions.archive")
    client = robot(role, workspace=workspace)

    assert client.promotions.promote("delays", 1, "Archived").version.stage == "Archived"
    with pytest.raises(PermissionMissing):
        client.versions.delete("delays", 1)
    with pytest.raises(PermissionMissing):
        client.models.delete("delays")
    with pytest.raises(PermissionMissing):
        client.promotions.promote("delays", 1, "Production")


def test_the_recipe_for_a_token_that_reads_one_workspace_holds(
    robot: Callable[..., Client], delays: Callable[[], str]
) -> None:
    workspace = delays()
    client = robot("writer", "--everywhere", workspace=workspace, cap="reader", only_workspace=workspace)

    assert client.models.get("delays").name == "delays"
    with pytest.raises(PermissionMissing):
        client.models.create("mine")
    with pytest.raises(NotFound):
        client.experiments.get("0")  # of the workspace default
    assert [each.name for each in client.workspaces.list()] == [workspace]


def test_a_role_for_one_model_does_not_reach_another_one(
    robot: Callable[..., Client], delays: Callable[[], str]
) -> None:
    workspace = delays()
    client = robot("approver", "--model", "delays", workspace=workspace)

    assert client.promotions.promote("delays", 1, "Staging").version.stage == "Staging"
    assert [each.name for each in client.models.search()] == ["delays"]
    with pytest.raises(NotFound):
        client.models.get("others")
