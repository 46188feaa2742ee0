from __future__ import annotations

import dataclasses

import pytest
from typer.testing import CliRunner

from modelry_cli.tree import app
from modelry_server.config import Config
from modelry_server.kernel.config import sections


@pytest.mark.parametrize("command", [["server"], ["up"], ["db", "upgrade"], ["db", "status"]])
def test_help_lists_every_setting(command: list[str]) -> None:
    options = [
        f"--{section}.{field.name.replace('_', '-')}"
        for section, kind in sections(Config)
        for field in dataclasses.fields(kind)
    ]

    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout

    assert [option for option in options if option not in shown] == []


def test_help_says_which_numbers_a_setting_takes() -> None:
    shown = CliRunner().invoke(app, ["server", "--help"], env={"COLUMNS": "400"}).stdout

    assert "without authentication a connection. From 2 to 256. Default: 16." in shown


def test_every_command_has_help() -> None:
    names = [str(group.name) for group in app.registered_groups]

    answers = {name: CliRunner().invoke(app, [name, "--help"]) for name in names}

    assert len(names) >= 15
    assert {name: answer.output for name, answer in answers.items() if answer.exit_code != 0} == {}
