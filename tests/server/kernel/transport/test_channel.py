"""Calls to other services: what travels with them, and what comes back when there is no answer."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from modelry.api.access import v1 as access
from modelry_server.kernel import caller, telemetry
from modelry_server.kernel.caller import Caller, Credential
from modelry_server.kernel.errors import (
    CallTooLong,
    DatabaseUnavailable,
    DeadlineExceeded,
    DeadlinePassed,
    Draining,
    FailedPrecondition,
    FieldInvalid,
    Internal,
    ModelryError,
    NotFound,
    QuotaExceeded,
    ResourceExhausted,
    ServiceUnavailable,
    TooManyCalls,
    TooManyStreams,
    Unavailable,
)
from modelry_server.kernel.transport import status
from modelry_server.kernel.transport.channel import Believed, Neighbour
from modelry_server.kernel.transport.messages import MESSAGE_BYTES
from tests.parts import free_port
from tests.parts.eventually import eventually
from tests.server.kernel.stage import KEY, staged


@contextmanager
def silent() -> Iterator[str]:
    """The address of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def neighbour(address: str, *, key: str = KEY, longest_s: float = 10.0) -> Iterator[Neighbour]:
    found = Neighbour("access", address, key=key, longest_s=longest_s)
    yield found
    found.close()


def asked(found: Neighbour, name: str = "x") -> str:
    method = found.stub(access.WorkspaceServiceStub).GetWorkspace
    answer: str = found.call(method, access.GetWorkspaceRequest(name=name)).workspace.name
    return answer


def test_the_caller_as_the_service_knows_it_and_what_is_left_of_the_time_travel_on() -> None:
    seen: list[Caller] = []

    def act(name: str) -> str:
        seen.append(caller.current())
        return name

    client = Caller("王明 50%", "ab" * 16, "ipv4:10.0.0.1:99", time.monotonic() + 5)
    with staged(act) as stage, neighbour(stage.internal) as found:
        with caller.using(client):
            asked(found)
        asked(found)

    theirs, own = seen
    assert (theirs.subject, theirs.peer, theirs.credential) == ("王明 50%", "ipv4:10.0.0.1:99", Credential.NONE)
    assert (own.subject, own.credential) == ("modelry", Credential.SERVICE)
    assert [each.is_service for each in seen] == [True, True]
    left = [each.time_left() for each in seen]
    assert left[0] is not None
    assert left[1] is not None
    assert left[0] < left[1]


def test_a_wrong_key_is_a_missing_service_for_the_caller_and_a_line_in_the_log_for_the_operator() -> None:
    log = io.StringIO()
    telemetry.start_logging("info", log)

    with (
        staged() as stage,
        neighbour(stage.internal, key="x" * 40) as found,
        pytest.raises(Unavailable) as caught,
    ):
        asked(found)

    assert caught.value.reason == "SERVICE_UNAVAILABLE"
    [line] = [json.loads(line) for line in log.getvalue().splitlines() if "neighbour.key_refused" in line]
    assert line["service"] == "access"
    assert "server.service_key" in line["right"]
    assert KEY not in log.getvalue()


@pytest.mark.parametrize("error", [Draining(), TooManyCalls(768, 1 << 20), TooManyStreams(256, 128), CallTooLong(60.0)])
def test_what_a_service_says_of_its_own_state_is_the_cause_of_a_missing_service(error: ModelryError) -> None:
    def act(name: str) -> str:
        raise error

    with staged(act) as stage, neighbour(stage.internal) as found, pytest.raises(Unavailable) as caught:
        asked(found)

    assert caught.value.reason == "SERVICE_UNAVAILABLE"
    assert caught.value.metadata == {"service": "access", "address": stage.internal, "cause": error.reason}
    assert error.reason in caught.value.message


def test_a_service_that_sees_the_end_of_its_time_first_is_missing_as_one_that_never_answers() -> None:
    def act(name: str) -> str:
        raise DeadlinePassed

    with staged(act) as stage, neighbour(stage.internal) as found, pytest.raises(Unavailable) as caught:
        asked(found)

    assert caught.value.reason == "SERVICE_UNAVAILABLE"


@pytest.mark.parametrize("error", [DatabaseUnavailable("access"), ServiceUnavailable("tracking", "127.0.0.1:1")])
def test_what_a_service_lacks_itself_is_passed_on(error: ModelryError) -> None:
    def act(name: str) -> str:
        raise error

    with staged(act) as stage, neighbour(stage.internal) as found, pytest.raises(Unavailable) as caught:
        asked(found)

    assert (caught.value.reason, caught.value.metadata) == (error.reason, error.metadata)


@pytest.mark.parametrize(
    "error",
    [
        NotFound("there is no x", kind="workspace", name="x", workspace="x"),
        FieldInvalid({"name": "is too long"}),
        FailedPrecondition("not now", unmet={"STATE": "is closed"}),
        Unavailable("busy"),
    ],
)
def test_what_a_neighbour_refuses_with_comes_back_as_the_same_class_reason_and_details(error: ModelryError) -> None:
    error.reason = "SOMETHING"

    def act(name: str) -> str:
        raise error

    with staged(act) as stage, neighbour(stage.internal) as found, pytest.raises(ModelryError) as caught:
        asked(found)

    back = caught.value
    assert (back.reason, back.message, back.metadata) == ("SOMETHING", error.message, error.metadata)
    kind = next(kind for kind in type(error).__mro__ if kind.__base__ is ModelryError)
    assert isinstance(back, kind)
    for name in ("violations", "unmet", "kind", "name"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_a_fault_of_a_neighbour_stays_a_fault_with_its_id() -> None:
    def act(name: str) -> str:
        raise RuntimeError("secret")

    with staged(act) as stage, neighbour(stage.internal) as found, pytest.raises(Internal) as caught:
        asked(found)

    assert "secret" not in caught.value.message
    assert caught.value.metadata["correlation_id"]


def test_nobody_at_the_address_is_a_missing_neighbour_by_name() -> None:
    with neighbour("127.0.0.1:1") as found, pytest.raises(Unavailable) as caught:
        asked(found)

    assert caught.value.reason == "SERVICE_UNAVAILABLE"
    assert caught.value.metadata == {"service": "access", "address": "127.0.0.1:1"}


def test_a_neighbour_that_never_answers_is_missing_after_its_time() -> None:
    with silent() as address, neighbour(address, longest_s=0.3) as found, pytest.raises(Unavailable) as caught:
        asked(found)

    assert (caught.value.reason, caught.value.metadata["service"]) == ("SERVICE_UNAVAILABLE", "access")


def test_a_long_call_that_is_never_answered_ends_after_the_longest_time_of_any_call() -> None:
    with silent() as address:
        found = Neighbour("access", address, longest_s=3600.0, call_s=0.3)
        get = found.stub(access.WorkspaceServiceStub).GetWorkspace
        with pytest.raises(Unavailable) as caught:
            found.call(get, access.GetWorkspaceRequest(name="x"), is_long=True)
        found.close()

    assert caught.value.reason == "SERVICE_UNAVAILABLE"


def test_when_the_callers_time_runs_out_first_it_is_the_callers_time() -> None:
    present = Caller("ann", "ab" * 16, deadline=time.monotonic() + 0.4)

    with (
        silent() as address,
        neighbour(address) as found,
        caller.using(present),
        pytest.raises(DeadlineExceeded) as caught,
    ):
        asked(found)

    assert caught.value.reason == "DEADLINE_EXCEEDED"


def test_without_time_left_nobody_is_asked() -> None:
    acted: list[str] = []

    def act(name: str) -> str:
        acted.append(name)
        return name

    with (
        staged(act) as stage,
        neighbour(stage.internal) as found,
        caller.using(Caller("ann", "ab" * 16, deadline=time.monotonic())),
        pytest.raises(DeadlineExceeded),
    ):
        asked(found)

    assert acted == []


def test_a_neighbour_that_comes_back_is_found_again() -> None:
    with staged() as stage:
        found = Neighbour("access", stage.internal, key=KEY)
        assert asked(found) == "x"
    with pytest.raises(Unavailable):
        asked(found)
    with staged(internal_address=stage.internal):
        back = eventually(lambda: _answered(found))
    found.close()

    assert back == "x"


def test_an_answer_that_is_too_large_is_an_error_and_not_a_missing_neighbour() -> None:
    with (
        staged(lambda name: "x" * (MESSAGE_BYTES + 1)) as stage,
        neighbour(stage.internal) as found,
        pytest.raises(ModelryError) as caught,
    ):
        asked(found)

    assert caught.value.reason != "SERVICE_UNAVAILABLE"


def test_many_at_once_share_one_connection() -> None:
    with staged() as stage, neighbour(stage.internal) as found, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda number: asked(found, str(number)), range(64))) == [str(n) for n in range(64)]


def test_what_a_neighbour_confirmed_is_believed_and_what_it_refused_is_asked_again() -> None:
    asked: list[str] = []

    def confirm(name: str) -> None:
        asked.append(name)
        if name == "missing":
            raise NotFound("there is no such thing")

    believed = Believed(confirm)
    for _ in range(3):
        believed.require("there")
        with pytest.raises(NotFound):
            believed.require("missing")

    assert asked == ["there", "missing", "missing", "missing"]


def test_the_latest_answer_is_asked_for_by_the_service_itself_and_counts_while_there_is_no_other() -> None:
    seen: list[Caller] = []
    answers: dict[str, object] = {"red": 1}

    def ask(name: str) -> int:
        seen.append(caller.current())
        answer = answers[name]
        if isinstance(answer, Exception):
            raise answer
        return int(str(answer))

    believed = Believed(ask)
    client = Caller("ann", "ab" * 16, "ipv4:10.0.0.1:99", time.monotonic() + 5)
    with caller.using(client):
        first = [believed.latest("red", 0) for _ in range(3)]
    answers |= {"red": 2, "blue": Unavailable("away")}
    _age(believed)
    again = believed.latest("red", 0)
    answers["red"] = Unavailable("away")
    _age(believed)
    unheard = [believed.latest(name, 0) for name in ("red", "blue", "red", "blue")]

    assert (first, again, unheard) == ([1, 1, 1], 2, [2, 0, 2, 0])
    assert [each.subject for each in seen] == ["modelry"] * 3  # after no answer it is not asked again at once
    assert {each.credential for each in seen} == {Credential.SERVICE}
    left = seen[0].time_left()
    assert left is not None
    assert left <= 2


def test_while_one_thread_asks_the_others_go_on_with_what_is_known() -> None:
    is_asking, may_answer = threading.Event(), threading.Event()
    answers = iter([1, 2])

    def ask(name: str) -> int:
        answer = next(answers)
        if answer == 2:
            is_asking.set()
            may_answer.wait(10)
        return answer

    believed = Believed(ask)
    believed.latest("red", 0)
    _age(believed)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(believed.latest, "red", 0)
        is_asking.wait(10)
        meanwhile = believed.latest("red", 0)
        may_answer.set()

    assert (meanwhile, asking.result(), believed.latest("red", 0)) == (1, 2, 2)


def _age(believed: Believed[int]) -> None:
    """Makes what is believed six seconds older."""
    believed._answers = {name: (at - 6, answer) for name, (at, answer) in believed._answers.items()}


def test_a_quota_that_a_neighbour_says_is_used_up_reaches_the_client_as_it_was_said() -> None:
    error = QuotaExceeded("red", "thing_count", 2, 2)

    def act(name: str) -> str:
        raise error

    with staged(act) as stage, neighbour(stage.internal) as found, pytest.raises(ResourceExhausted) as raised:
        asked(found)

    said = raised.value
    assert (said.reason, said.message, said.metadata) == ("QUOTA_EXCEEDED", error.message, error.metadata)
    assert said.exceeded == error.exceeded == {"workspace:red": error.message}
    again, first = (status.to_status(each).details for each in (said, error))
    assert [each.type_url for each in again] == [each.type_url for each in first]


def _answered(found: Neighbour) -> str:
    try:
        return asked(found)
    except Unavailable:
        return ""


def test_calls_between_services_go_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")

    with staged(lambda name: name) as stage, neighbour(stage.internal) as found:
        assert asked(found, "x") == "x"
