"""The page on models says with which version of each framework its flavor is tested."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)`[^|]*\|.*\| ([0-9.]+) \|$", re.MULTILINE)


def test_the_page_names_the_versions_that_the_tests_run_with() -> None:
    told = set(ROW.findall((REPOSITORY / "docs" / "models.md").read_text()))

    families = (REPOSITORY / "tests" / "families").glob("*/requirements.txt")
    pins = {tuple(line.split("==")) for family in families for line in family.read_text().split()}
    assert {("xgboost", "3.2.0"), ("sklearn", version("scikit-learn"))} <= told
    assert told - {("sklearn", version("scikit-learn"))} <= pins
