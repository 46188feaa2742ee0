"""The code on the pages of the documentation works.

Every page is found by itself. All blocks of a page run in order, in one process against a real server, so that a block
can use what an earlier one made. `CONTRIBUTING.md` says what happens to each kind of block.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, anchors, blocks, fences, links, pages, read
from tests.parts.deployment import Deployment

KINDS = {"python", "bash", "sql", "toml", "text"}
SEARCHES = {"runs", "experiments", "datasets", "models", "versions"}
NOT_RUN = {
    "CONTRIBUTING.md": 1,
    "README.md": 2,
    "docs/access.md": 1,
    "docs/autologging.md": 1,
    "docs/cli.md": 2,
    "docs/credentials.md": 1,
    "docs/datasets.md": 2,
    "docs/models.md": 4,
    "docs/operating.md": 8,
    "docs/pictures-and-files.md": 1,
    "docs/quick-start.md": 2,
}
"""How many blocks of a page are not run. Each says why in the line above it: `<!-- not run: REASON -->`."""

SECRETS = {"MODELRY_ARTIFACTS_S3_ACCESS_KEY": "key", "MODELRY_ARTIFACTS_S3_SECRET_KEY": "secret"}
"""What a configuration file with an object store leaves to the environment."""

WARNED = "the SDK warned:"
"""Begins each line that the SDK logs while a page runs. A page must not cause warnings."""

_VARIABLE = re.compile(r"^(\w+)=", re.MULTILINE)
_HEAD = f"""\
import logging as _logging, pathlib as _pathlib, subprocess as _subprocess
import modelry as _modelry

_warned = _logging.StreamHandler()
_warned.setFormatter(_logging.Formatter("{WARNED} %(message)s"))
_logging.getLogger("modelry").addHandler(_warned)
"""


def program(page: str) -> str:
    """The page as one Python program."""
    found = [block for block in blocks(page) if not block.reason]
    shell = "\n".join(block.text for block in found if block.kind == "bash")
    kept = " ".join(sorted(set(_VARIABLE.findall(shell))))
    return "\n".join([_HEAD, *(_code(block, kept) for block in found)])


def _code(block: Block, kept: str) -> str:
    match block.kind:
        case "python":
            return block.text
        case "bash":
            keep = f"declare -p {kept} 2>/dev/null > .kept || true" if kept else ""
            script = f"set -eu -o pipefail; touch .kept; . ./.kept\n{block.text}\n{keep}"
            return f"_modelry.flush()\n_subprocess.run(['bash', '-c', {script!r}], check=True)"
        case "sql":
            search = f"_modelry.Client().{block.noun}.search(filter=_filter, max_results=1)"
            return f"for _filter in {block.text.splitlines()!r}:\n    list({search})"
        case "toml" if block.noun == "issuers":
            return (
                # Any authority does in place of the one that the page is about.
                "import certifi as _certifi\n"
                "from modelry_server.access.domain.oidc.issuers import load_issuers as _load_issuers\n"
                "_pathlib.Path('cluster-ca.pem').write_text(_pathlib.Path(_certifi.where()).read_text())\n"
                f"_pathlib.Path('issuers.toml').write_text({block.text!r})\n"
                "_load_issuers(_pathlib.Path('issuers.toml'))"
            )
        case "toml":
            secrets = SECRETS if 'store = "minio"' in block.text else {}
            return (
                f"_pathlib.Path('modelry.toml').write_text({block.text!r})\n"
                "from modelry_server.config import Config as _Config\n"
                "from modelry_server.kernel.config import load as _load\n"
                f"_load(_Config, file=_pathlib.Path('modelry.toml'), environment={secrets!r}, flags={{}})"
            )
        case _:
            return ""


def _runs(page: str) -> bool:
    return any(block.kind != "text" and not block.reason for block in blocks(page))


@pytest.mark.parametrize("deployment", ["all-sqlite"], indirect=True)
@pytest.mark.parametrize("page", [page for page in pages() if _runs(page)])
def test_the_code_of_a_page_works(page: str, deployment: Deployment, tmp_path: Path) -> None:
    sources = os.pathsep.join(str(ROOT / each) for each in ("clients/python", "clients/cli", "services"))
    (tmp_path / "bin").mkdir()
    # A link to the Python of an environment would not find its packages.
    for name, words in (("python", sys.executable), ("modelry", f"{sys.executable} -m modelry_cli")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
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
    assert WARNED not in ran.stderr, ran.stderr


@pytest.mark.parametrize("page", pages())
def test_every_block_of_a_page_is_of_a_known_kind(page: str) -> None:
    found = list(blocks(page))

    assert fences(page) == 2 * len(found), "a code block is begun and ended by ``` at the beginning of a line"
    assert [block for block in found if block.kind not in KINDS] == []
    assert [block for block in found if block.kind == "sql" and block.noun not in SEARCHES] == []


def test_a_block_that_is_not_run_says_why_and_is_counted() -> None:
    reasons = {page: [block.reason for block in blocks(page) if block.reason] for page in pages()}

    assert {page: len(each) for page, each in reasons.items() if each} == NOT_RUN
    assert [reason for each in reasons.values() for reason in each if len(reason.split()) < 3] == []


def test_the_links_of_the_pages_lead_somewhere() -> None:
    broken = [
        f"{page}: {path}#{fragment}"
        for page in pages()
        for path, fragment in links(page)
        if not _leads_somewhere(page, path, fragment)
    ]

    assert broken == []


def test_every_page_can_be_reached_from_another_one() -> None:
    linked = {((ROOT / page).parent / path).resolve() for page in pages() for path, _ in links(page) if path}

    assert [page for page in pages() if "/" in page and ROOT / page not in linked] == []


def test_the_architecture_lists_every_decision_by_its_title() -> None:
    rows = dict(re.findall(r"^\| \[\d+\]\((adr/.+\.md)\) \| (.+) \|$", read("docs/architecture.md"), re.MULTILINE))
    titles = {page.removeprefix("docs/"): read(page).split("\n")[0] for page in pages() if page.startswith("docs/adr/")}

    assert rows == {path: title.partition(". ")[2] for path, title in titles.items()}


def test_pages_for_users_say_service_and_not_room() -> None:
    sources = [ROOT / page for page in pages() if page != "CONTRIBUTING.md"] + [*(ROOT / "docs").rglob("*.svg")]

    found = [path.name for path in sources if re.search(r"\brooms?\b", path.read_text("utf-8"), re.IGNORECASE)]

    assert found == []


def _leads_somewhere(page: str, path: str, fragment: str) -> bool:
    target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    if not target.exists():
        return False
    return not fragment or fragment in anchors(target.relative_to(ROOT).as_posix())
