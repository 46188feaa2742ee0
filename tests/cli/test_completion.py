from __future__ import annotations

import pytest
from typer.testing import CliRunner

from modelry_cli.tree import app


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("modelry ver", ["version"]),
        ("modelry run l", ["list", "log", "logs"]),
        ("modelry run list --fi", ["--filter"]),
        ("modelry server --tracking.add", ["--tracking.address"]),
    ],
)
def test_a_shell_is_offered_nouns_verbs_and_options(typed: str, offered: list[str]) -> None:
    asked = {"_MODELRY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}

    answer = CliRunner().invoke(app, [], env=asked, prog_name="modelry")

    assert answer.stdout.split() == offered
