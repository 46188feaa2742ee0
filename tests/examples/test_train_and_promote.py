from __future__ import annotations

import os
import subprocess
import sys

from modelry import Client
from tests.parts.deployment import REPOSITORY, Deployment


def test_the_example_ends_with_a_champion_in_production(deployment: Deployment) -> None:
    sources = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))
    told = subprocess.run(
        [sys.executable, "clients/examples/train_and_promote.py"],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.environment(), "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    address = deployment.addresses["registry"]
    champion = Client(address).aliases.get("digit-reader", "champion")
    assert champion.stage == "Production"
    assert f"@champion points at version {champion.version_number}" in told.stdout
    pictures = Client(deployment.addresses["artifacts"]).artifacts.list(f"runs/{champion.run_id}", "pictures")
    assert [picture.path for picture in pictures] == ["pictures/confusion.png"]
    curve = Client(deployment.address).metrics.read(champion.run_id, "validation_accuracy")
    assert len(curve) > 20
    assert told.stderr == ""
