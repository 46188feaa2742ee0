from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from modelry_cli.main import advice
from tests.cli.test_up import SOURCES
from tests.parts.deployment import REPOSITORY

SDK, CLI = ("grpcio", "protobuf"), ("rich", "typer")


def modelry(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a Python that has only the packages of the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((SOURCES, str(folder)))}
    command = [sys.executable, "-S", "-m", "modelry_cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def install(folder: Path, *names: str) -> None:
    """Puts distributions into the folder, and all that they need."""
    folder.mkdir(exist_ok=True)
    for name in names:
        found = metadata.distribution(name)
        for part in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            if not (folder / part).exists():
                (folder / part).symlink_to(str(found.locate_file(part)))
        needed = [re.split(r"[^\w.-]", each)[0] for each in found.requires or () if ";" not in each]
        install(folder, *(each for each in needed if not any(folder.glob(f"{each.replace('-', '_')}-*.dist-info"))))


@pytest.mark.parametrize(
    ("installed", "words", "said"),
    [
        (SDK, ["--help"], "the command line needs typer, .*pip install '.[cli]'"),
        (SDK, ["run", "list"], "the command line needs typer, .*pip install '.[cli]'"),
        ((*SDK, *CLI), ["up"], "this command needs .*pip install '.[server,cli]'"),
        ((*SDK, *CLI), ["server"], "this command needs .*pip install '.[server,cli]'"),
        ((*SDK, *CLI), ["db", "status"], "this command needs .*pip install '.[server,cli]'"),
    ],
)
def test_a_command_whose_packages_are_missing_says_what_to_install(
    tmp_path: Path, installed: tuple[str, ...], words: list[str], said: str
) -> None:
    install(tmp_path / "site", *installed)

    answer = modelry(tmp_path / "site", *words)

    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(f"error: {re.escape(said).replace(re.escape('.*'), '.*')}\n", answer.stderr), answer.stderr


def test_the_command_line_without_the_server_asks_other_servers(tmp_path: Path) -> None:
    install(tmp_path / "site", *SDK, *CLI)

    helped = modelry(tmp_path / "site", "--help")
    asked = modelry(tmp_path / "site", "run", "list", "--address", "127.0.0.1:1")

    assert "experiment" in helped.stdout
    assert (asked.returncode, asked.stderr[:10]) == (1, "error: no ")


def test_each_package_that_the_server_imports_is_known_to_be_of_its_extra() -> None:
    imported = set()
    for file in (REPOSITORY / "services" / "modelry_server").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
    own = ("modelry", "modelry_server", "grpc", "google.protobuf", "compression")  # the last: of newer Pythons
    foreign = {
        name
        for name in imported
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not f"{name}.".startswith(tuple(f"{o}." for o in own))
    }

    assert {name for name in foreign if "server" not in advice(name)} == set()
    assert advice("modelry_server.nothing") == advice("pandas") == ""
