"""Runs what the pages show: ```python and ```bash blocks, in their order, in one process for each page.

A ```console block is shown only; what it shows is tested elsewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.deployment import REPOSITORY, Deployment

PAGES = ["README.md", "docs/quick-start.md", "docs/cli.md", "docs/sdk.md", "docs/operating.md"]
_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(page: str) -> str:
    """The page as one program: shell blocks share a file of variables, as a terminal would."""
    lines = ["import subprocess as _subprocess"]
    for kind, text in _BLOCK.findall((REPOSITORY / page).read_text()):
        if kind == "python":
            lines.append(text)
        else:
            script = (
                f"set -eu -o pipefail; touch .kept; . ./.kept\n{text}\ndeclare -p best run 2>/dev/null > .kept || true"
            )
            lines.append("import modelry as _modelry; _modelry.flush()")
            lines.append(f"_subprocess.run(['bash', '-c', {script!r}], check=True)")
    return "\n".join(lines)


@pytest.mark.parametrize("deployment", ["all-sqlite"], indirect=True)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_works(page: str, deployment: Deployment, tmp_path: Path) -> None:
    sources = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "bin" / "modelry").write_text(f'#!/bin/sh\nexec {sys.executable} -m modelry_cli "$@"\n')
    (tmp_path / "bin" / "modelry").chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")},
        **deployment.environment(),
        "MODELRY_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONPATH": sources,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }

    ran = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


def test_the_pages_link_to_what_is_there() -> None:
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in link
    ]

    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []
