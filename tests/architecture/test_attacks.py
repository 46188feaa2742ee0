"""The table of attacks in docs/security.md: each has tests that bear its id, and each such test is in the table."""

from __future__ import annotations

import ast
import re

from tests.architecture.tree import ROOT, files, parsed

PAGE = ROOT / "docs" / "security.md"
EXPECTED = [*(f"A{number}" for number in range(1, 21)), "P2", "P10", "Q6", "Q7", "Q8", *(f"O{n}" for n in range(2, 8))]
_ROW = re.compile(r"^\| ([A-Z]\d+) \| .+ \| (.+) \|$", re.MULTILINE)
_NAME = re.compile(r"test_([a-z])(\d\d)_")


def listed() -> dict[str, set[str]]:
    """The files of the tests of each attack, as the page says."""
    return {attack: set(re.findall(r"`(tests/[\w/]+\.py)`", named)) for attack, named in _ROW.findall(PAGE.read_text())}


def written() -> dict[str, set[str]]:
    """The files of the tests of each attack, by the names of the tests."""
    found: dict[str, set[str]] = {}
    for path in files(".py"):
        if path.parts[0] == "tests":
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.FunctionDef) and (name := _NAME.match(node.name)):
                    found.setdefault(f"{name[1].upper()}{int(name[2])}", set()).add(str(path))
    return found


def test_each_attack_has_its_row() -> None:
    assert [attack for attack in EXPECTED if not listed().get(attack)] == []


def test_the_table_has_the_files_of_all_tests_of_an_attack_and_no_others() -> None:
    assert listed() == written()
