from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Modelry
from tests.parts.deployment import Deployment
from tests.parts.quotas import workspace_with


def test_the_usage_of_a_workspace_is_shown_with_its_quotas(
    modelry: Modelry, read: Callable[..., Any], deployment: Deployment
) -> None:
    name = workspace_with(deployment, run_count=8, stored_bytes=1000)
    for _ in range(2):
        read("run", "create", "--workspace", name)

    shown = modelry("workspace", "usage", name)
    document = read("workspace", "usage", "--workspace", name)

    words = [line.split() for line in shown.out.splitlines()]
    assert words[0] == ["WHAT", "USED", "LIMIT", "PERCENT"]
    assert ["runs", "2", "8", "25.0"] in words
    assert [line[:4] for line in words if line[0] == "versions"] == [["versions", "0", "no", "limit"]]
    assert ["stored", "bytes", "0", "1000", "0.0"] in words
    assert document["runs"] == {"used": 2, "limit": 8}
    assert (document["versions"]["limit"], document["workspace"], document["file_count"]) == (None, name, 0)


def test_a_quota_of_0_is_shown_as_it_is_and_lets_nothing_in(
    modelry: Modelry, read: Callable[..., Any], deployment: Deployment
) -> None:
    name = workspace_with(deployment, run_count=0)

    words = [line.split() for line in modelry("workspace", "usage", name).out.splitlines()]
    document = read("workspace", "usage", name)
    refused = modelry("run", "create", "--workspace", name)

    assert ["runs", "0", "0", "100.0"] in words
    assert document["runs"] == {"used": 0, "limit": 0}
    assert refused.code == 1
    assert "its run_count is 0, and the quota is 0" in refused.err


def test_a_command_that_is_over_a_quota_says_the_numbers(
    modelry: Modelry, read: Callable[..., Any], deployment: Deployment
) -> None:
    name = workspace_with(deployment, run_count=1)
    read("run", "create", "--workspace", name)

    refused = modelry("run", "create", "--workspace", name)

    assert refused.code == 1
    assert "its run_count is 1, and the quota is 1" in refused.err


def test_the_usage_of_no_workspace_is_refused(modelry: Modelry) -> None:
    answer = modelry("workspace", "usage", "nowhere")

    assert answer.code == 1
    assert "modelry workspace create nowhere" in answer.err
