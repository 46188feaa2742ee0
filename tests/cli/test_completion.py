from __future__ import annotations

import pytest
from typer.testing import CliRunner

from assay_cli.main import app


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("assay ver", ["version"]),
        ("assay run l", ["list", "log"]),
        ("assay run list --fi", ["--filter"]),
        ("assay server --tracking.add", ["--tracking.address"]),
    ],
)
def test_a_shell_is_offered_nouns_verbs_and_options(typed: str, offered: list[str]) -> None:
    asked = {"_ASSAY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}

    answer = CliRunner().invoke(app, [], env=asked, prog_name="assay")

    assert answer.stdout.split() == offered
