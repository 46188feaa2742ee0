"""The docs name only Prometheus metrics that the server has."""

from __future__ import annotations

import importlib
import re

import prometheus_client

from modelry_server.targets import ROOMS
from tests.parts.deployment import REPOSITORY

NAME = re.compile(r"\bmodelry_(?:rpc|database|access|tracking|artifacts|registry)_\w+")
MODULES = (
    "modelry_server.kernel.sql.sqlite",
    "modelry_server.kernel.sql.watch",
    "modelry_server.kernel.transport.call",
    "modelry_server.kernel.transport.limits.held",
    *(f"modelry_server.{room}.instruments" for room in ROOMS),
)


def test_each_metric_in_the_docs_exists() -> None:
    named = set(NAME.findall((REPOSITORY / "docs" / "operating.md").read_text()))
    for module in MODULES:
        importlib.import_module(module)
    existing = {each.name for family in prometheus_client.REGISTRY.collect() for each in family.samples}
    # One with labels has no samples before its first use.
    existing |= {family.name for family in prometheus_client.REGISTRY.collect()}
    existing |= {f"{family.name}_total" for family in prometheus_client.REGISTRY.collect() if family.type == "counter"}

    assert named
    assert named - existing == set()
