"""The errors that the contract lists for each rpc are those that its code can raise."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor import MethodDescriptor

from modelry_server.kernel.errors import AnswerTooLarge, FieldInvalid, TooManyStreams
from tests.architecture.refusals import reasons_of
from tests.architecture.test_reasons import REASONS
from tests.architecture.tree import PROTOS, comment_above, rpcs

RPCS = dict(rpcs())
_OF_A_TOKEN = "principals are never deleted, and a token has one"
_OF_QUOTA = "workspaces are never deleted, and the quota is that of the workspace of a thing that exists"
UNREACHABLE = {
    "CreateWorkspace": {"WORKSPACE_NOT_FOUND": "workspaces are never deleted, so a repeated request finds its own"},
    "CreateExperiment": {"EXPERIMENT_NOT_FOUND": "deleted experiments are kept, so a repeated request finds its own"},
    "ListEvents": {"PAGE_TOKEN_INVALID": "it takes a page size from the pager, and no token"},
    "LogBatch": {"BATCH_GAP": "its batches have no number"},
    "WriteMetrics": {"PARAM_CONFLICT": "it has no params"},
    "CreateRun": {"WORKSPACE_NOT_FOUND": _OF_QUOTA},
    "WriteArtifacts": {"WORKSPACE_NOT_FOUND": _OF_QUOTA},
    "CreateSnapshot": {"WORKSPACE_NOT_FOUND": _OF_QUOTA},
    "CreateVersion": {
        "WORKSPACE_NOT_FOUND": _OF_QUOTA,
        "OWNER_NOT_FOUND": "tracking has just said that the run exists, and deleted runs are kept",
        "SNAPSHOT_EXISTS": "the id of the version is made from the request, and so from its source",
    },
    "WhoAmI": {"PRINCIPAL_NOT_FOUND": "principals are never deleted, and the caller is one"},
    "CreateToken": {"TOKEN_NOT_FOUND": "tokens are never deleted, so a repeated request finds its own"},
    "GetToken": {"PRINCIPAL_NOT_FOUND": _OF_A_TOKEN},
    "RotateToken": {"PRINCIPAL_NOT_FOUND": _OF_A_TOKEN},
    "RevokeToken": {"PRINCIPAL_NOT_FOUND": _OF_A_TOKEN},
    "DeleteRoleBinding": {
        "ROLE_NOT_FOUND": "a role that is bound can't be deleted",
        "WORKSPACE_NOT_FOUND": "who can't see its workspace hears that there is no such binding",
    },
    "GetIdentity": {"PRINCIPAL_EXISTS": "a name that is taken gets a number, and the id of the issuer is looked up"},
    "DeleteSnapshot": {"SNAPSHOT_NOT_FOUND": "only for services without the permission, which all of them have"},
}
"""What the walk finds although no request leads to it, and why none does."""


def from_any() -> set[str]:
    """The reasons that any rpc can give, as the page about the contract says."""
    page = (PROTOS.parent / "README.md").read_text()
    table = page.partition("These reasons can come from any rpc")[2].partition("\n## ")[0]
    return {reason for row in re.findall(r"^\| (`[A-Z_`, ]+`) \|", table, re.MULTILINE) for reason in _names(row)}


def listed(rpc: str) -> list[str]:
    """The reasons in the comment of an rpc, after `Errors:`."""
    method = RPCS[rpc]
    text = (PROTOS.parent / method.containing_service.file.name).read_text()
    errors = comment_above(text, f"rpc {method.name}").partition("Errors:")[2].replace("//", " ")
    # What stands in brackets says when, and may name fields and rpcs.
    return _names(re.sub(r"\([^)]*\)", "", errors))


def raised(rpc: str) -> set[str]:
    """The reasons that the code of an rpc, and what stands around all of them, can give."""
    method = RPCS[rpc]
    reasons = {*reasons_of(rpc), FieldInvalid.reason} - UNREACHABLE.get(method.name, {}).keys()
    if method.client_streaming or method.server_streaming:
        reasons |= {TooManyStreams.reason}
    if _is_unbounded(method):
        reasons |= {AnswerTooLarge.reason}
    return reasons


def _is_unbounded(method: MethodDescriptor) -> bool:
    """Whether an answer is a list that has no pages."""
    return method.name.startswith(("List", "Search")) and "page_size" not in method.input_type.fields_by_name


def _names(text: str) -> list[str]:
    return re.findall(r"`([A-Z][A-Z_]+)`", text)


def test_what_any_rpc_can_give_is_known() -> None:
    assert {"INTERNAL", "DEADLINE_EXCEEDED"} <= from_any() <= REASONS


@pytest.mark.parametrize("rpc", RPCS)
def test_an_rpc_lists_the_reasons_that_its_code_gives_and_no_others(rpc: str) -> None:
    named = listed(rpc)

    assert len(named) == len(set(named))
    assert set(named) <= REASONS
    assert set(named) - from_any() == raised(rpc) - from_any()


def test_each_exception_is_still_found_by_the_walk() -> None:
    found = {RPCS[rpc].name: reasons_of(rpc) for rpc in RPCS}

    assert [(rpc, why) for rpc, why in UNREACHABLE.items() if not why.keys() <= found[rpc]] == []
