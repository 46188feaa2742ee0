"""The reasons of errors: what a contract names exists, and what exists is raised somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from modelry.api.common import v1 as common
from tests.architecture.tree import PROTOS, files, parsed, server_errors

PREFIX = "ERROR_REASON_"
REASONS = {
    name.removeprefix(PREFIX)
    for name in common.ErrorReason.DESCRIPTOR.values_by_name
    if not name.endswith("_UNSPECIFIED")
}


def raised() -> Iterator[str]:
    """The names of what the server makes or raises: `X(…)` anywhere, and `raise X`."""
    for path in files(".py"):
        if not path.is_relative_to("services/modelry_server"):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call):
                yield _last(node.func)
            elif isinstance(node, ast.Raise) and node.exc is not None:
                yield _last(node.exc)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_each_reason_that_a_contract_names_exists() -> None:
    named = {
        (path.name, reason)
        for path in PROTOS.glob("*/*/v1/*_service.proto")
        for line in re.findall(r"// *Errors:(.*(?:\n *//.*)*)", path.read_text())
        for reason in re.findall(r"`([A-Z][A-Z_]{4,})`", line)
    }

    assert named
    assert sorted((file, reason) for file, reason in named if reason not in REASONS and "_" in reason) == []


def test_each_reason_has_a_class_that_is_raised_somewhere() -> None:
    names = set(raised())
    answered = {kind.reason for kind in server_errors() if "reason" in vars(kind) and kind.__name__ in names}

    assert sorted(REASONS - answered) == []


def test_each_error_class_is_raised_somewhere_or_has_one_below_it_that_is() -> None:
    names = set(raised())
    kinds = server_errors()

    assert [
        f"{kind.__module__}.{kind.__name__}"
        for kind in kinds
        if not any(each.__name__ in names for each in kinds if issubclass(each, kind))
    ] == []


def test_each_class_of_a_service_has_a_reason_that_the_contract_knows() -> None:
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
