from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.tree import files, imports, parsed

MAY_CATCH_ALL = {
    "services/modelry_server/kernel/transport/interceptors.py",  # the border of every call
    "services/modelry_server/kernel/jobs.py",  # the loop of every background job
    "services/modelry_server/tracking/domain/ingest.py",  # each writer of the group raises it
}

# Their work runs in threads of the SDK, or with signals held back: no handler runs in it.
IN_OUR_THREADS = {
    "clients/python/modelry/_sdk/observing/console.py",
    "clients/python/modelry/_sdk/observing/gpus.py",
    "clients/python/modelry/_sdk/observing/meter.py",
    "clients/python/modelry/_sdk/observing/packages.py",
    "clients/python/modelry/_sdk/observing/sampling.py",
    "clients/python/modelry/_sdk/observing/snapshots.py",
    "clients/python/modelry/_sdk/recording/heartbeats.py",
    "clients/python/modelry/_sdk/recording/recorder.py",
    "clients/python/modelry/_sdk/transport/process.py",
}

# Functions of the server that may wait without a limit. All others may answer a call that has a deadline.
MAY_WAIT_FOR_EVER = {
    "kernel/transport/health.py:Watch",  # a stream; gRPC tells it that its client has left
    "kernel/transport/interceptors.py:upload",  # its commit, which `server.stop` interrupts
    "kernel/transport/server.py:wait",  # the main thread
    "artifacts/domain/artifacts.py:_arrived",  # a stream; the store has limits of its own
    "artifacts/domain/incoming.py:put",  # likewise
    "artifacts/domain/incoming.py:settle",  # likewise
    "artifacts/domain/incoming.py:discard",  # likewise
    "tracking/domain/downsample.py:downsample_parts",  # the result of no future
}
_WAITS = ("wait", "acquire", "result", "join")


def catches_all(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    everything = any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in kinds)
    # Tidying up and passing the error on hides nothing.
    return everything and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)


def calls(path: Path, *names: str) -> list[str]:
    found = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
    return [f"{path}:{call.lineno}" for call in found if ast.unparse(call.func) in names]


def test_only_the_interceptor_and_the_job_loop_catch_everything() -> None:
    server = [path for path in files(".py") if path.is_relative_to("services") and str(path) not in MAY_CATCH_ALL]

    assert [
        f"{path}:{node.lineno}"
        for path in server
        for node in ast.walk(parsed(path))
        if catches_all(node) and isinstance(node, ast.ExceptHandler)
    ] == []


def test_what_a_handler_of_a_signal_raised_is_passed_on_to_the_training_code() -> None:
    """`except Exception` is for what the code of another library raises: see `values/signals.py`."""
    sdk = [path for path in files(".py") if path.is_relative_to("clients/python/modelry")]

    assert {
        f"{path}:{ast.unparse(node)[:60]}"
        for path in sdk
        if str(path) not in IN_OUR_THREADS
        for node in ast.walk(parsed(path))
        if catches_exceptions(node) and not passes_on(node)
    } == set()


def test_the_sdk_imports_nothing_of_its_own_by_a_text_which_would_hide_it_from_the_floors() -> None:
    sdk = [path for path in files(".py") if path.is_relative_to("clients/python/modelry/_sdk")]
    functions = ("importlib.import_module", "import_module", "__import__")

    assert [
        f"{path}:{node.lineno}"
        for path in sdk
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in functions
        if any(isinstance(part, ast.Constant) and str(part.value).startswith("modelry") for part in ast.walk(node))
    ] == []


def catches_exceptions(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        return catches_all(node) and "BaseException" not in ast.unparse(node.type or node)
    return isinstance(node, ast.Call) and ast.unparse(node).endswith("suppress(Exception)")


def passes_on(node: ast.AST) -> bool:
    return isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[0]).startswith("signals.pass_on(")


def test_no_test_sleeps() -> None:
    tests = [path for path in files(".py") if path.is_relative_to("tests")]

    assert [line for path in tests for line in calls(path, "time.sleep", "sleep")] == []


def test_no_test_puts_a_mock_in_place_of_our_code() -> None:
    tests = [path for path in files(".py") if path.is_relative_to("tests")]

    assert [
        str(path) for path in tests if any(name.startswith(("unittest.mock", "mock.")) for name in imports(path))
    ] == []


def test_nothing_prints_but_a_program() -> None:
    libraries = [
        path for path in files(".py") if path.parts[:2] in {("services", "modelry_server"), ("clients", "python")}
    ]

    assert [line for path in libraries if path.name != "__main__.py" for line in calls(path, "print")] == []


def test_nothing_waits_without_a_limit_where_calls_are_answered() -> None:
    """By the names of what waits: an event, a lock, a future, a thread or a process."""
    found = set()
    for path in files(".py"):
        if not path.is_relative_to("services/modelry_server"):
            continue
        for function in ast.walk(parsed(path)):
            if isinstance(function, ast.FunctionDef):
                found |= {
                    f"{path.relative_to('services/modelry_server')}:{function.name}" for _ in endless_waits(function)
                }

    assert found == MAY_WAIT_FOR_EVER


def endless_waits(function: ast.FunctionDef) -> list[ast.Call]:
    """The calls of `wait`, `acquire`, `result` and `join` without anything that limits them, in the function itself."""
    inner = {
        id(node)
        for each in ast.walk(function)
        if isinstance(each, ast.FunctionDef) and each is not function
        for node in ast.walk(each)
    }
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _WAITS
        and not node.args
        and not node.keywords
        and id(node) not in inner
    ]


# What raises all kinds of errors, and has no limit of time, if somebody else wrote the text.
PARSERS = {"json": {"load", "loads", "JSONDecoder", "scanner", "decoder"}}
MAY_PARSE = {"clients/python/modelry/_sdk/values/foreign.py"}  # the one place, which makes them one error


def test_the_clients_read_json_and_yaml_of_others_in_one_place() -> None:
    """Servers, models, packages and killed processes have written it."""
    clients = [path for path in files(".py") if path.parts[:2] in {("clients", "python"), ("clients", "cli")}]

    assert {str(path) for path in clients if parses(path)} == MAY_PARSE


def parses(path: Path) -> bool:
    """Whether a file uses a parser of JSON or YAML, by whatever name it imports it."""
    return any(map(is_parser, ast.walk(parsed(path))))


def is_parser(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr in PARSERS.get(node.value.id, ()) or (node.value.id == "yaml" and "dump" not in node.attr)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in {"json", "yaml"}
    if isinstance(node, ast.Import):
        return any(each.asname for each in node.names if each.name.partition(".")[0] in {"json", "yaml"})
    return False
