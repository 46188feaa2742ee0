"""Runs the tests of each family of frameworks in an environment of its own: see README.md here.

python tests/families/run.py [family...] [-- options of pytest]
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CONSTRAINTS = REPOSITORY / "constraints.txt"
KEPT = REPOSITORY / ".cache" / "families"


def main() -> int:
    """Runs the families that are named, or all of them. Returns 1 if one of them failed."""
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    names, options = given[:at], given[at + 1 :]
    families = names or sorted(each.parent.name for each in HERE.glob("*/requirements.txt"))
    failed = [family for family in families if not _passes(family, options)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _passes(family: str, options: list[str]) -> bool:
    python = _environment(family)
    print(f"=== the family {family}", flush=True)
    return (
        subprocess.run([python, "-m", "pytest", str(HERE / family), *options], cwd=REPOSITORY, check=False).returncode
        == 0
    )


def _environment(family: str) -> Path:
    """The Python of the environment of a family, which is made if there is none from the same files."""
    wanted = HERE / family / "requirements.txt"
    made_from = wanted.read_bytes() + CONSTRAINTS.read_bytes() + sys.version.encode() + str(REPOSITORY).encode()
    place = KEPT / f"{family}-{hashlib.sha256(made_from).hexdigest()[:12]}"
    python = place / "bin" / "python"
    if (place / "ready").exists():
        return python
    for old in KEPT.glob(f"{family}-*"):
        shutil.rmtree(old)
    began = time.monotonic()
    print(f"=== making the environment of the family {family} (once)", flush=True)
    constraints = place / "constraints.txt"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, place], check=True)
    constraints.write_text(_constraints(wanted))
    subprocess.run([*uv, "pip", "install", "--python", python, "-c", constraints, "-r", wanted], check=True)
    # What is in both has one version, by the constraints.
    base = sysconfig.get_paths()["purelib"]
    own = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"])
    Path(own.decode().strip(), "base.pth").write_text(f"import site; site.addsitedir({base!r})\n")
    (place / "ready").touch()
    print(f"=== made in {time.monotonic() - began:.0f} s", flush=True)
    return python


def _constraints(wanted: Path) -> str:
    """The constraints, without the packages for which the requirements of the family name a version themselves."""
    own = {line.partition("==")[0] for line in wanted.read_text().splitlines()}
    lines = CONSTRAINTS.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("==")[0] not in own)


if __name__ == "__main__":
    sys.exit(main())
