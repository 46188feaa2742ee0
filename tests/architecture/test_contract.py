from __future__ import annotations

import re
import subprocess
import sys

import pytest

from modelry.api.common import v1 as common
from modelry_server.permissions import PERMISSIONS
from tests.architecture.tree import PROTOS, ROOMS, ROOT, comment_above, rpcs, server_errors, services

VERBS = {
    *("Get", "List", "Search", "Create", "Update", "Delete", "Restore", "Log", "Write", "Read", "Watch", "Finish"),
    *("Promote", "Approve", "Rollback", "Verify", "Complete", "Abort"),
}
PREFIX = "ERROR_REASON_"
REASONS = {
    name.removeprefix(PREFIX)
    for name in common.ErrorReason.DESCRIPTOR.values_by_name
    if not name.endswith("_UNSPECIFIED")
}


def test_each_rpc_has_a_permission_and_each_permission_an_rpc() -> None:
    assert set(PERMISSIONS) == {name for name, _ in rpcs()}


def test_there_is_one_service_for_a_noun_in_a_room() -> None:
    rooms = {service.full_name: service.file.package for service in services()}
    files = {service.full_name: service.file.name for service in services()}

    assert set(rooms.values()) == {f"modelry.api.{room}.v1" for room in ROOMS}
    assert len(set(files.values())) == len(files)
    assert [name for name, service in files.items() if _snake(name.rpartition(".")[2]) not in service] == []


def test_each_rpc_begins_with_a_verb_that_is_known() -> None:
    readme = PROTOS.parents[1] / "README.md"
    further = set(re.findall(r"`(\w+)`", readme.read_text())) if readme.exists() else set()

    verbs = {name: re.findall("[A-Z][a-z]+", name.rpartition("/")[2])[0] for name, _ in rpcs()}

    assert {name: verb for name, verb in verbs.items() if verb not in VERBS | further} == {}


def test_each_rpc_has_a_request_and_a_response_of_its_own() -> None:
    wrong = [
        name
        for name, rpc in rpcs()
        if (rpc.input_type.name, rpc.output_type.name) != (f"{rpc.name}Request", f"{rpc.name}Response")
    ]

    assert wrong == []


def test_each_rpc_says_which_errors_it_raises() -> None:
    texts = {path: path.read_text() for path in PROTOS.glob("*/v1/*_service.proto")}
    silent = [
        f"{path.name}: {name}"
        for path, text in texts.items()
        for name in re.findall(r"^\s*rpc (\w+)\(", text, re.MULTILINE)
        if "Errors:" not in comment_above(text, f"rpc {name}")
    ]

    assert silent == []


def test_each_reason_that_a_contract_names_exists() -> None:
    named = {
        (path.name, reason)
        for path in PROTOS.glob("*/v1/*_service.proto")
        for line in re.findall(r"// *Errors:(.*(?:\n *//.*)*)", path.read_text())
        for reason in re.findall(r"`([A-Z][A-Z_]{4,})`", line)
    }

    assert sorted((file, reason) for file, reason in named if reason not in REASONS and "_" in reason) == []


def test_each_reason_has_a_class_that_raises_it() -> None:
    raised = {kind.reason for kind in server_errors()}

    assert sorted(REASONS - raised) == []


def test_each_class_of_a_room_has_a_reason_that_the_contract_knows() -> None:
    unknown = {
        f"{kind.__module__}.{kind.__name__}": kind.reason for kind in server_errors() if kind.reason not in REASONS
    }
    silent = [
        f"{kind.__module__}.{kind.__name__}"
        for kind in server_errors()
        if not kind.__module__.startswith("modelry_server.kernel.") and "reason" not in vars(kind)
    ]

    assert unknown == {}
    assert silent == []


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_fits_on_the_wire(reason: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,62}", reason)


def test_the_generated_code_is_what_the_contracts_say() -> None:
    fresh = subprocess.run(
        [sys.executable, ROOT / "protos" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )

    assert fresh.returncode == 0, fresh.stderr


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
