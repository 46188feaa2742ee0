"""What holds for every contract: names, options, permissions, the code made from it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

from modelry.api.rpc import NOT_REPEATABLE, Rpc
from modelry_server.kernel.access import Kind
from modelry_server.permissions import MEANINGS, PERMISSIONS, Permission
from tests.architecture.tree import PROTOS, ROOMS, ROOT, comment_above, contracts, rpcs, services

VERBS = {
    *("Get", "List", "Search", "Create", "Update", "Delete", "Restore", "Log", "Write", "Read", "Watch", "Finish"),
    *("Promote", "Approve", "Rollback", "Verify", "Complete", "Abort"),
}
READING = {"Get", "List", "Search", "Read", "Watch", "Who"}
MAY_READ = {Kind.SIGNED_IN, Kind.INVITED, *(each for each in Permission if each.endswith((".read", ".audit")))}
LANGUAGES = (
    *("csharp_namespace", "go_package", "java_multiple_files", "java_outer_classname", "java_package"),
    *("php_namespace", "ruby_package"),
)
NO_SIDE_EFFECTS, UNKNOWN = MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENCY_UNKNOWN


def verb(rpc: str) -> str:
    return str(re.findall("[A-Z][a-z]+", rpc.rpartition("/")[2])[0])


def test_each_rpc_has_a_permission_and_each_permission_an_rpc() -> None:
    assert set(PERMISSIONS) == {name for name, _ in rpcs()}


def test_what_is_internal_is_for_services_only_and_nothing_else_is() -> None:
    internal = {name for name, _ in rpcs() if name.startswith("/modelry.internal.")}

    assert internal
    assert {name for name, permission in PERMISSIONS.items() if permission == Kind.SERVICE} == internal


def test_what_only_reads_needs_no_more_than_to_read() -> None:
    reading = [name for name, _ in rpcs() if name.startswith("/modelry.api.") and verb(name) in READING]

    assert [name for name in reading if PERMISSIONS[name] not in MAY_READ] == []


def test_what_changes_something_needs_more_than_to_read() -> None:
    changing = [name for name, _ in rpcs() if name.startswith("/modelry.api.") and verb(name) not in READING]

    # The domain asks for more: `versions.stage` and its like for a promotion, whose tokens they are for tokens.
    asks_more = {name for name in changing if "/PromoteVersion" in name or ".TokenService/" in name}
    assert {name for name in changing if PERMISSIONS[name] in MAY_READ} == asks_more


def test_each_permission_is_explained() -> None:
    assert set(MEANINGS) == set(Permission)


def test_each_service_is_in_the_file_of_its_noun_in_the_package_of_its_room() -> None:
    found = [(service.full_name, service.file) for service in services()]

    packages = {file.package for _, file in found}
    assert {f"modelry.api.{room}.v1" for room in ROOMS} <= packages
    assert packages <= {f"modelry.{side}.{room}.v1" for room in ROOMS for side in ("api", "internal")}
    assert len({file.name for _, file in found}) == len(found)
    assert [name for name, file in found if _snake(name.rpartition(".")[2]) not in file.name] == []


def test_each_rpc_begins_with_a_verb_that_is_known() -> None:
    assert {name for name, _ in rpcs() if verb(name) not in VERBS | further_verbs()} == set()


def further_verbs() -> set[str]:
    """The verbs in the list of additional verbs on the page about the contract."""
    page = (PROTOS.parent / "README.md").read_text()
    [items] = re.findall(r"<!-- additional verbs: begin -->\n(.*)<!-- additional verbs: end -->", page, re.DOTALL)
    return set(re.findall(r"^- `(\w+)`:", items, re.MULTILINE))


def test_the_further_verbs_are_those_of_the_list_and_no_other_word() -> None:
    assert further_verbs()
    assert further_verbs() <= {verb(name) for name, _ in rpcs()}


def test_each_rpc_has_a_request_and_a_response_of_its_own() -> None:
    wrong = [
        name
        for name, rpc in rpcs()
        if (rpc.input_type.name, rpc.output_type.name) != (f"{rpc.name}Request", f"{rpc.name}Response")
    ]

    assert wrong == []


def test_each_rpc_says_its_idempotency_level_and_only_those_that_read_have_no_side_effects() -> None:
    levels = {name: rpc.GetOptions() for name, rpc in rpcs()}

    assert [name for name, options in levels.items() if not options.HasField("idempotency_level")] == []
    assert {name for name, options in levels.items() if options.idempotency_level == NO_SIDE_EFFECTS} == {
        name for name in levels if verb(name) in READING
    }


def test_an_rpc_that_needs_its_request_id_to_be_idempotent_is_not_marked_as_idempotent() -> None:
    with_request_id = {
        name: rpc.GetOptions().idempotency_level
        for name, rpc in rpcs()
        if "request_id" in rpc.input_type.fields_by_name
    }

    assert with_request_id
    assert {name: level for name, level in with_request_id.items() if level != UNKNOWN} == {}


def test_the_generated_constants_say_what_the_contracts_say_of_repeating() -> None:
    once = {
        name
        for name, rpc in rpcs()
        if rpc.GetOptions().idempotency_level == UNKNOWN and "request_id" not in rpc.input_type.fields_by_name
    }
    packages = {service.file.package for service in services()}
    modules = [importlib.import_module(f"{package}.rpcs") for package in packages]
    constants = {value.path: value for module in modules for value in vars(module).values() if isinstance(value, Rpc)}

    assert set(NOT_REPEATABLE) == once
    assert set(constants) == {name for name, _ in rpcs()}
    assert {name for name, rpc in constants.items() if not rpc.repeatable} == once
    assert [
        name
        for name, rpc in rpcs()
        if (rpc.input_type, rpc.output_type)
        != (constants[name].request.DESCRIPTOR, constants[name].response.DESCRIPTOR)
    ] == []


@pytest.mark.parametrize("option", LANGUAGES)
def test_each_file_sets_the_options_of_all_languages(option: str) -> None:
    assert [file.name for file in contracts() if not getattr(file.GetOptions(), option)] == []


def test_no_two_packages_share_a_namespace_in_any_language() -> None:
    for option in ("csharp_namespace", "go_package", "java_package", "php_namespace", "ruby_package"):
        found = {(file.package, getattr(file.GetOptions(), option)) for file in contracts()}
        assert len(found) == len({package for package, _ in found}) == len({name for _, name in found}), option


def test_each_rpc_says_which_errors_it_raises() -> None:
    texts = {path: path.read_text() for path in PROTOS.glob("*/*/v1/*_service.proto")}
    silent = [
        f"{path.name}: {name}"
        for path, text in texts.items()
        for name in re.findall(r"^\s*rpc (\w+)\(", text, re.MULTILINE)
        if "Errors:" not in comment_above(text, f"rpc {name}")
    ]

    assert texts
    assert silent == []


def test_the_generated_code_is_what_the_contracts_say() -> None:
    fresh = subprocess.run(
        [sys.executable, ROOT / "protos" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )

    assert fresh.returncode == 0, fresh.stderr


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
