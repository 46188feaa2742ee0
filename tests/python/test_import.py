from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.parts.grpc_traces import trace

REST = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def printed(code: str) -> set[str]:
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(answer.stdout.split())


def median(action: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def test_importing_brings_nothing_but_the_standard_library() -> None:
    plain = printed(REST)

    brought = printed(f"import modelry; {REST}") - plain

    assert brought - set(sys.stdlib_module_names) == {"modelry"}


def test_importing_costs_less_than_100_ms_more_than_python_itself() -> None:
    plain = median(lambda: printed("pass"))
    with_modelry = median(lambda: printed("import modelry"))

    assert with_modelry - plain < 0.1


def test_using_it_brings_grpc_and_protobuf_and_nothing_else() -> None:
    used = (
        "import modelry, modelry._sdk.fluent.functions, modelry._sdk.transport.status as s; "
        "modelry.Client('127.0.0.1:1').runs, modelry.Client('127.0.0.1:1').versions; s._messages()"
    )

    brought = printed(f"{used}; {REST}") - printed(REST)

    # grpc itself looks for its companions, and loads those that are installed.
    companions = {"cython_runtime", "grpc_health", "grpc_reflection", "grpc_status", "typing_extensions"}
    others = {name for name in brought - set(sys.stdlib_module_names) - companions if not name.startswith("_cython")}
    assert others == {"modelry", "google", "grpc"}


def test_calls_without_a_login_bring_nothing_of_http() -> None:
    used = "from modelry._sdk.transport.connection import connect; connect('127.0.0.1:1')._signing.token()"

    assert "ssl" not in printed(f"{used}; {REST}") - printed(f"import grpc, google.protobuf; {REST}")


def test_each_module_that_pages_name_is_reached_from_the_package() -> None:
    pytest.importorskip("fsspec")

    assert printed("import modelry; modelry.filesystem.register(); print(modelry.filesystem.__name__)") == {
        "modelry.filesystem"
    }


def test_each_module_of_the_package_is_imported_by_its_name_too() -> None:
    code = (
        "import importlib, modelry\n"
        "for name, path in modelry._MODULES.items():\n"
        "    assert path == f'modelry.{name}', path\n"
        "    assert importlib.import_module(path) is getattr(modelry, name), path\n"
    )
    printed(code)
    printed("import modelry.data; modelry.data.from_pandas")
    printed("from modelry.data import from_pandas; import modelry; assert modelry.data.from_pandas is from_pandas")


def test_every_public_name_has_a_docstring() -> None:
    import modelry

    bare = [
        name for name in modelry.__all__ if name != "__version__" and not (getattr(modelry, name).__doc__ or "").strip()
    ]

    assert bare == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import modelry

    assert not hasattr(modelry, "log_everything")
    for name, said in (
        ("log_metic", ""),
        ("_private", ""),
        ("MlflowException", "mlflow.md"),
    ):
        with pytest.raises(AttributeError, match=name) as raised:
            getattr(modelry, name)
        assert ("mlflow.md" in str(raised.value)) == bool(said)
    assert "log_metric" in dir(modelry)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it was not measured, and nothing is chosen")
@pytest.mark.parametrize("given", [None, "", "-event_engine_client"])
def test_who_calls_reads_from_the_network_unless_grpc_is_told_otherwise_and_nobody_else_sees_it(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    trace(monkeypatch, "event_engine", experiments=given)
    code = (
        "import modelry, os\n"
        "try: modelry.Client('127.0.0.1:1').runs.get('0' * 32)\n"
        "except modelry.errors.Unavailable: print(os.environ.get('GRPC_EXPERIMENTS'), "
        "os.environ.get('GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS'))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == f"{given} None\n"
    assert "Unknown experiment" not in done.stderr
    assert ("EventEngine::Connect" in done.stderr) == (given == "")
