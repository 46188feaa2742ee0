from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, files, parsed

FORBIDDEN = {
    *("util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "managers", "handler", "handlers"),
    *("data", "info", "impl", "v2"),
}
CONTRACTS = "protos/modelry/api/common/"  # the one place that may be called so: reasons and messages of all rooms
PUBLIC = {"clients/python/modelry/data.py"}  # MLflow's name, by which its users import it
CANONICAL = {"DataLoss"}  # gRPC's own name for a code

LONGEST = 500
LONGER: dict[str, int] = {}
"""Files that were longer when the rule came, and how long; the list may only shrink. Keep it empty."""

DEEPEST = 5


def words_of_path(path: Path) -> set[str]:
    return {word for part in path.with_suffix("").parts for word in re.split(r"[_\-.]", part.lower())}


def words_of_class(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    chosen = [path for path in files() if CONTRACTS not in str(path) and str(path) not in PUBLIC]
    named = [str(path) for path in chosen if words_of_path(path) & FORBIDDEN]
    renewed = [str(path) for path in files() if any(part.startswith("new_") for part in path.parts)]

    assert named + renewed == []


def test_no_class_has_a_name_that_says_nothing() -> None:
    classes = [
        (path, node.name, words_of_class(node.name))
        for path in files(".py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]

    assert [
        f"{path}: {name}"
        for path, name, words in classes
        if name not in CANONICAL and (words[-1] in FORBIDDEN or words[0] in {"base", "new", "common", "abstract"})
    ] == []


def test_no_file_is_longer_than_one_concept_needs() -> None:
    code = files(".py", ".proto", ".ts", ".tsx", ".css", ".sh")
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in code}
    allowed = {path: LONGER.get(path, LONGEST) for path in lengths}

    assert {path: length for path, length in lengths.items() if length > allowed[path]} == {}
    assert {path: lengths.get(path, 0) for path in LONGER if lengths.get(path, 0) <= LONGEST} == {}, "shrink LONGER"


def test_no_file_lies_deeper_than_five_folders() -> None:
    assert [str(path) for path in files() if len(path.parent.parts) > DEEPEST] == []


@pytest.mark.parametrize("mark", ["TO" + "DO", "FIX" + "ME", "X" + "XX"])
def test_nothing_is_left_for_later_in_the_code(mark: str) -> None:
    code = files(".py", ".proto", ".ts", ".tsx", ".sh")

    assert [str(path) for path in code if re.search(rf"\b{mark}\b", (ROOT / path).read_text())] == []
