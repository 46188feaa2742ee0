"""Logging works where a machine lacks what a laptop has."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry._sdk.recording import sync
from modelry._sdk.transport import settings
from tests.parts import free_port
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import run_script, use

RUN = """
import modelry
with modelry.start_run() as run:
    modelry.log_metric("m", 1.0)
    modelry.log_text("text", "a.txt")
print(run.id)
"""
NOBODY = """
import os, pwd
def nobody(uid): raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
for name in ("HOME", "XDG_STATE_HOME", "MODELRY_SPOOL_DIR", "USER", "LOGNAME"): os.environ.pop(name, None)
"""
NOWHERE = """
import os, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
"""
RELATIVE = 'import os\nos.environ["MODELRY_SPOOL_DIR"] = "spool"\n'


@pytest.mark.parametrize("lack", [NOBODY, NOWHERE, NOWHERE + RELATIVE, NOBODY + NOWHERE])
def test_a_run_is_recorded_where_there_is_no_home_and_no_working_folder(
    own_on_sqlite: Deployment, spool: Path, lack: str
) -> None:
    client = use(own_on_sqlite)

    script = run_script(lack + RUN, own_on_sqlite.address, spool)

    assert script.returncode == 0, script.stderr
    run_id = script.stdout.strip()
    assert (client.runs.get(run_id).metrics, client.runs.get(run_id).status) == ({"m": 1.0}, "FINISHED")
    assert client.artifacts.read_bytes(f"runs/{run_id}", "a.txt") == b"text"


def test_a_user_without_a_home_has_a_spool_too(own_on_sqlite: Deployment, tmp_path: Path) -> None:
    client = use(own_on_sqlite)
    limits = {"MODELRY_START_TIMEOUT": "500ms", "MODELRY_EXIT_TIMEOUT": "500ms", "TMPDIR": str(tmp_path)}

    script = run_script(NOBODY + RUN, f"127.0.0.1:{free_port()}", tmp_path, **limits)
    (folder,) = tmp_path.glob("modelry-spool-*")
    report = sync.deliver(own_on_sqlite.address, folder=folder)

    assert report.problems == ()
    assert client.runs.get(script.stdout.strip()).metrics == {"m": 1.0}


def test_a_home_that_cant_be_written_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MODELRY_SPOOL_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert settings.read().spool_folder.parent == tmp_path
