"""gRPC in programs whose threads gevent has replaced. gevent is not there: only the choice is tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import sys, types
monkey = types.ModuleType("gevent.monkey")
monkey.is_module_patched = lambda name: {patched} and name == "threading"
sys.modules["gevent.monkey"] = monkey
import grpc.experimental
support = types.ModuleType("grpc.experimental.gevent")
support.init_gevent = lambda: print("waits as gevent wants it")
sys.modules["grpc.experimental.gevent"] = grpc.experimental.gevent = support
from modelry._grpc import grpc
"""


@pytest.mark.parametrize(("patched", "said"), [(True, ["waits as gevent wants it"]), (False, [])])
def test_grpc_waits_as_gevent_wants_it_where_gevent_has_replaced_threads(patched: bool, said: list[str]) -> None:
    script = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(patched=patched)], capture_output=True, text=True, check=True, timeout=60
    )

    assert script.stdout.splitlines() == said
