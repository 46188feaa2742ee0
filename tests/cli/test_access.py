"""The commands for people, groups, roles, tokens and quotas, on a server that lets everybody do everything."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from typing import Any

import pytest

from modelry import Client
from tests.cli.conftest import Modelry

Read = Callable[..., Any]


@pytest.fixture
def ada(read: Read, name: str) -> str:
    """The name of a person."""
    return str(read("user", "create", f"ada-{name}", "--display-name", "Ada")["name"])


@pytest.fixture
def robot(read: Read, name: str) -> str:
    """The name of a service account."""
    return str(read("user", "create", f"robot-{name}", "--service-account")["name"])


def test_a_user_is_made_changed_disabled_and_enabled(modelry: Modelry, read: Read, ada: str) -> None:
    changed = read("user", "update", ada, "--display-name", "Ada L.")
    disabled = modelry("user", "disable", ada)
    state = read("user", "get", ada)
    read("user", "enable", ada)

    assert (changed["display_name"], changed["kind"]) == ("Ada L.", "USER")
    assert disabled.out == f"Disabled {ada}: all of its credentials are refused within five seconds.\n"
    assert (state["disabled"], read("user", "get", state["principal_id"])["disabled"]) == (True, False)
    assert re.search(rf"{ada} +person +Ada L\.", modelry("user", "list", "--limit", 1000).out)


def test_service_accounts_are_listed_alone(read: Read, ada: str, robot: str) -> None:
    found = {each["name"] for each in read("user", "list", "--service-account")}

    assert (robot in found, ada in found) == (True, False)


def test_people_are_found_by_a_part_of_their_names(read: Read, ada: str, robot: str, name: str) -> None:
    assert {each["name"] for each in read("user", "list", "--find", name.upper())} == {ada, robot}
    assert [each["name"] for each in read("user", "list", "--find", name, "--service-account")] == [robot]
    assert ada in {each["name"] for each in read("user", "list", "--find", "aDA", "--limit", 1000)}


def test_groups_are_listed_of_a_member(modelry: Modelry, read: Read, ada: str, name: str) -> None:
    read("group", "create", name)
    read("group", "create", f"{name}-all")
    read("group", "add", name, ada)
    read("group", "add", f"{name}-all", "--group", name)

    assert [each["name"] for each in read("group", "list", "--user", ada)] == [name]
    assert [each["name"] for each in read("group", "list", "--group", name)] == [f"{name}-all"]
    assert modelry("group", "list", "--group", f"{name}-all").err == "No groups.\n"
    assert modelry("group", "list", "--user", f"{name}-nobody").code == 1
    assert modelry("group", "list", "--user", ada, "--group", name).code == 2


def test_bindings_are_shown_by_their_id_and_listed_of_one_role(
    modelry: Modelry, read: Read, ada: str, robot: str, name: str
) -> None:
    read("workspace", "create", name)
    bound = read("role", "bind", "approver", "--user", ada, "--workspace", name)
    read("role", "bind", "reader", "--user", robot, "--workspace", name)

    shown = modelry("role", "binding", bound["binding_id"])
    approvers = read("role", "bindings", "--role", "approver", "--workspace", name)
    wrong = modelry("role", "bindings", "--role", "aprover", "--workspace", name)

    assert re.search(rf"where +workspace {name}\n", shown.out)
    assert read("role", "binding", bound["binding_id"]) == bound
    assert approvers == [bound]
    assert (wrong.code, "'aprover'" in wrong.err) == (1, True)
    assert modelry("role", "binding", "0" * 32).code == 1


def test_a_group_has_members_who_come_and_go(modelry: Modelry, read: Read, ada: str, robot: str, name: str) -> None:
    read("group", "create", name, "--description", "the team")
    read("group", "create", f"{name}-all")

    read("group", "add", name, ada, robot)
    read("group", "add", f"{name}-all", "--group", name)
    shown = modelry("group", "members", name).out
    read("group", "remove", name, robot)
    left = read("group", "members", name)

    assert ada in shown
    assert robot in shown
    assert [each["principal_id"] for each in left] == [read("user", "get", ada)["principal_id"]]
    assert [each["group"] for each in read("group", "members", f"{name}-all")] == [name]
    assert read("group", "update", name, "--description", "ours")["description"] == "ours"
    assert name in [each["name"] for each in read("group", "list")]
    assert modelry("group", "add", name).code == 2
    assert "Whoever is in it loses the roles" in modelry("group", "delete", name).err
    assert modelry("group", "delete", name, "--yes").code == 0
    assert modelry("group", "get", name).code == 1


def test_a_role_is_bound_in_the_workspace_listed_and_taken_away(
    modelry: Modelry, read: Read, client: Client, ada: str, name: str
) -> None:
    read("workspace", "create", name)
    experiment = Client(client._connection.address.uri, name).experiments.create("flights").experiment_id
    read("role", "create", name, "--permission", "runs.read", "--permission", "versions.archive")

    bound = read("role", "bind", name, "--user", ada, "--workspace", name)
    part = modelry("role", "bind", "writer", "--user", ada, "--workspace", name, "--experiment", "flights")
    listed = modelry("role", "bindings", "--workspace", name)
    taken = modelry("role", "unbind", name, "--user", ada, "--workspace", name)

    assert bound["place"] == {"workspace": name, "experiment_id": "", "model_id": ""}
    assert f"experiment flights ({experiment}) of {name}" in part.out
    assert re.search(rf"{name} +{ada} +workspace {name}", listed.out)
    assert taken.out.startswith(f"Took the role {name} from {ada}, workspace {name}.")
    (left,) = read("role", "bindings", "--workspace", name)
    assert left["role"] == "writer"
    read("role", "unbind", "--id", left["binding_id"])
    assert read("role", "bindings", "--workspace", name) == []
    assert modelry("role", "delete", name, "--yes").code == 0


def test_everything_is_bound_only_in_so_many_words(read: Read, ada: str) -> None:
    forgotten = read("role", "bind", "reader", "--user", ada)
    meant = read("role", "bind", "reader", "--user", ada, "--everywhere")

    assert (forgotten["place"]["workspace"], meant["place"]["workspace"]) == ("default", "")


def test_an_administrator_is_unbound_after_it_was_said_what_is_lost(modelry: Modelry, read: Read, ada: str) -> None:
    read("role", "bind", "admin", "--user", ada)

    asked = modelry("role", "unbind", "admin", "--user", ada)
    still = read("role", "bindings", "--user", ada)
    done = modelry("role", "unbind", "admin", "--user", ada, "--yes")

    assert (asked.code, len(still), done.code) == (2, 1, 0)
    assert f"Take the role admin from {ada}, workspace default?" in asked.err
    assert read("role", "bindings", "--user", ada) == []


def test_a_role_that_somebody_does_not_have_can_not_be_taken(modelry: Modelry, ada: str) -> None:
    answer = modelry("role", "unbind", "writer", "--user", ada)

    assert answer.code == 1
    assert "modelry role bindings" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["bind", "reader"],
        ["bind", "reader", "--user", "ada", "--group", "team"],
        ["bind", "reader", "--user", "ada", "--experiment", "x", "--everywhere"],
        ["bind", "reader", "--user", "ada", "--workspace", "w", "--everywhere"],
        ["unbind"],
        ["unbind", "reader", "--id", "x"],
        ["update", "reader"],
    ],
)
def test_half_a_binding_is_wrong_use(modelry: Modelry, words: list[str]) -> None:
    assert modelry("role", *words).code == 2


def test_the_secret_of_a_token_is_shown_once(modelry: Modelry, read: Read, robot: str) -> None:
    made = modelry("token", "create", "--user", robot, "--description", "nightly", "--expires-in", "12h")
    document = read("token", "create", "--user", robot, "--cap", "reader", "--only-workspace", "default")
    listed = modelry("token", "list", "--user", robot)
    got = read("token", "get", document["token_id"])

    secret = made.out.removesuffix("\n")
    assert re.fullmatch(r"mdy_t_[0-9A-Za-z]{36}", secret)
    assert "The secret is shown this once" in made.err
    assert re.search(r"description +nightly\n", made.err)
    assert secret not in made.err
    assert re.fullmatch(r"mdy_t_[0-9A-Za-z]{36}", document["secret"])
    assert (document["role_cap"], document["workspaces"]) == ("reader", ["default"])
    assert "secret" not in got
    assert secret not in listed.out
    assert document["hint"] in listed.out


def test_a_token_is_rotated_and_revoked(modelry: Modelry, read: Read, robot: str) -> None:
    made = read("token", "create", "--user", robot)

    rotated = read("token", "rotate", made["token_id"])
    revoked = modelry("token", "revoke", made["token_id"])

    assert rotated["secret"] != made["secret"]
    assert revoked.out == f"Revoked token {made['token_id']}.\n"
    assert read("token", "list", "--user", robot) == []
    assert [each["token_id"] for each in read("token", "list", "--user", robot, "--ended")] == [made["token_id"]]


def test_all_tokens_are_revoked_after_it_was_said_how_many(modelry: Modelry, read: Read, robot: str) -> None:
    for _ in range(2):
        read("token", "create", "--user", robot)

    asked = modelry("token", "revoke", "--all", "--user", robot)
    done = modelry("token", "revoke", "--all", "--user", robot, "--yes")

    assert asked.code == 2
    assert f"Revoke 2 tokens of {robot}?" in asked.err
    assert done.out == f"Revoked 2 tokens of {robot}.\n"


@pytest.mark.parametrize(
    "words",
    [["create", "--expires-in", "soon"], ["revoke"], ["revoke", "x", "--all"], ["revoke", "x", "--user", "ada"]],
)
def test_half_a_command_about_tokens_is_wrong_use(modelry: Modelry, words: list[str]) -> None:
    assert modelry("token", *words).code == 2


def test_quotas_stay_unless_they_are_given(modelry: Modelry, read: Read, name: str) -> None:
    made = read("workspace", "create", name, "--most-runs", 10)
    changed = read("workspace", "update", name, "--most-bytes", 1 << 40)
    lifted = read("workspace", "update", name, "--most-runs", "none", "--most-versions", 0)

    assert made["quotas"] == {"run_count": 10, "version_count": None, "stored_bytes": None}
    assert changed["quotas"] == {"run_count": 10, "version_count": None, "stored_bytes": 1 << 40}
    assert lifted["quotas"] == {"run_count": None, "version_count": 0, "stored_bytes": 1 << 40}
    assert modelry("workspace", "update", name).code == 2
    for wrong in (-1, "x", "", "1.5", "²", 1 << 63, "9" * 5000):
        refused = modelry("workspace", "update", name, "--most-runs", wrong)
        assert refused.code == 2
        assert "is neither 'none' nor a whole number" in " ".join(refused.err.replace("│", " ").split())
    assert read("workspace", "get", name) == lifted


def _options(limit: object) -> list[object]:
    return ["--most-runs", limit, "--most-versions", limit, "--most-bytes", limit]


def test_quotas_are_shown_in_words(modelry: Modelry, name: str) -> None:
    made = modelry("workspace", "create", name, "--most-runs", 1000, "--most-versions", 50, "--most-bytes", 10 << 30)
    none = modelry("workspace", "update", name, *_options(0))
    changed = modelry("workspace", "update", name, *_options("none"))

    assert re.search(r"quotas +runs 1000, versions 50, 10 GiB\n", made.out)
    assert re.search(r"quotas +runs 0, versions 0, 0 B\n", none.out)
    assert re.search(r"quotas +no limits\n", changed.out)
    assert re.search(r"quotas +no limits\n", modelry("workspace", "get", name).out)
    assert re.search(rf"{name} +no limits", modelry("workspace", "list", "--limit", 1000).out)


def test_a_claimed_name_is_shown_as_it_is(modelry: Modelry, read: Read, name: str) -> None:
    user = getpass.getuser()
    read("model", "create", name)

    (record,) = read("audit", "list", name)
    drawn = modelry("audit", "list", name)

    assert (record["actor"], record["actor_name"], record["credential_kind"]) == (user, user, "NONE")
    assert re.search(rf"{user} +model\.created", drawn.out)


def test_the_changes_in_access_are_listed_and_verified(modelry: Modelry, read: Read, ada: str) -> None:
    modelry("user", "disable", ada)
    principal_id = read("user", "get", ada)["principal_id"]

    found = read("audit", "list", "--access", "--kind", "principal", "--of", principal_id)
    drawn = modelry("audit", "list", "--access", "--kind", "principal", "--of", principal_id)
    verified = modelry("audit", "verify", "--access")

    assert found[0]["after"] == {"disabled": True}
    assert [(each["resource_name"], each["principal_name"]) for each in found] == [("", ada)] * len(found)
    assert "disabled: False -> True" in drawn.out
    assert f"principal {ada}" in drawn.out
    assert (verified.code, "all intact" in verified.out) == (0, True)
    assert modelry("audit", "list", "--access", "a-model").code == 2
    assert modelry("audit", "list", "a-model", "--kind", "role").code == 2


def test_a_server_without_authentication_says_that_it_knows_nobody(modelry: Modelry, read: Read) -> None:
    answer = modelry("whoami")

    assert (answer.code, "everybody may do everything" in answer.out) == (0, True)
    assert read("whoami")["authenticated"] is False
