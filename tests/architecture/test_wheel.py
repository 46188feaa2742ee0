from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.architecture.tree import GENERATED, ROOT, files

ROOTS = [Path("clients/python"), Path("clients/cli"), Path("services")]


def test_a_wheel_ships_every_file_of_the_three_source_roots(tmp_path: Path) -> None:
    written = {path.relative_to(root).as_posix() for root in ROOTS for path in files() if path.is_relative_to(root)}
    made = (path for folder in GENERATED for path in (ROOT / folder).rglob("*.py*"))
    generated = {path.relative_to(ROOT / ROOTS[0]).as_posix() for path in made}

    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)

    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == written | {name for name in generated if "__pycache__" not in name}
