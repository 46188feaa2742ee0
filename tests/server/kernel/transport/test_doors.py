"""Who is let in at a public listener where callers are known, how long a stream may stay, and what guessing brings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel import caller
from modelry_server.kernel.access import Access, Place
from modelry_server.kernel.authority import Authority, Changed
from modelry_server.kernel.caller import Caller, Credential
from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport import doors
from modelry_server.kernel.transport.limits import failures
from tests.parts.eventually import eventually
from tests.parts.refusal import Refusal, refused, unpacked
from tests.parts.vouched import vouched
from tests.server.kernel.book import Book, authority_of
from tests.server.kernel.stage import KEY, Stage, ask, limits_with, staged

TOKEN = "mdy_t_" + "a" * 36
SEEN: list[Caller] = []


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def note(name: str) -> str:
    SEEN.append(caller.current())
    return name


@pytest.fixture
def book() -> Book:
    SEEN.clear()
    found = Book()
    found.write(TOKEN, "ann")
    return found


@pytest.fixture
def stage(book: Book) -> Iterator[Stage]:
    with staged(note, authority=authority_of(book)) as found:
        yield found


@pytest.fixture
def channel(stage: Stage) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stage.address) as found:
        yield found


def refusal(channel: grpc.Channel, metadata: Any) -> Refusal:
    method = access.WorkspaceServiceStub(channel).GetWorkspace
    return refused(method, access.GetWorkspaceRequest(name="x"), metadata=metadata)


def test_a06_a_caller_is_who_its_credential_says_whatever_it_says_of_itself(channel: grpc.Channel) -> None:
    claims = (("modelry-subject", "root"), *vouched(KEY, "access"), ("x-forwarded-user", "root"))

    ask(channel, "x", metadata=(*claims, *bearer(TOKEN)))

    [seen] = SEEN
    assert (seen.subject, seen.key, seen.credential, seen.is_service) == ("ann", "ann-id", Credential.API_TOKEN, False)


def test_who_has_no_credential_is_told_how_to_send_one(channel: grpc.Channel) -> None:
    found = refusal(channel, (("modelry-subject", "ann"), *vouched(KEY, "access")))

    assert (found.code, found.reason, SEEN) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING", [])
    assert "authorization: Bearer" in found.message


@pytest.mark.parametrize(
    "metadata",
    [
        bearer("mdy_t_" + "b" * 36),
        bearer(TOKEN[:-1]),
        bearer(TOKEN + TOKEN),
        bearer(TOKEN.upper()),
        (*bearer(TOKEN), *bearer(TOKEN)),
        (*bearer("other"), *bearer(TOKEN)),
        (("authorization", TOKEN),),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", "Bearer "),),
        (("authorization", "Bearer"),),
        (("authorization", f"Bearer {TOKEN} {TOKEN}"),),
        (("authorization", f"Bearer {TOKEN},"),),
        (("authorization", ""),),
        bearer("x" * 9000),
    ],
)
def test_what_is_no_credential_that_is_known_is_refused_and_not_repeated(channel: grpc.Channel, metadata: Any) -> None:
    found = refusal(channel, metadata)

    assert (found.code, found.reason, SEEN) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID", [])
    assert "a" * 20 not in str(found)


@pytest.mark.parametrize("name", ["authorization-bin", "x-authorization", "proxy-authorization", "modelry-token"])
def test_a_token_in_another_entry_is_no_credential(channel: grpc.Channel, name: str) -> None:
    value = TOKEN.encode() if name.endswith("-bin") else f"Bearer {TOKEN}"

    assert refusal(channel, ((name, value),)).reason == "CREDENTIAL_MISSING"


def test_the_debug_log_says_who_was_refused_and_never_by_a_name_that_is_only_claimed(
    book: Book, channel: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "modelry.rpc")
    book.write("bootstrap", "bootstrap", is_bootstrap=True)
    claim = ("modelry-subject", "root")

    for token in ("unknown", "bootstrap"):
        refusal(channel, (claim, *bearer(token)))

    said = [each.modelry_fields for each in caplog.records if each.message == "rpc.refused"]  # type: ignore[attr-defined]
    assert [each["subject"] for each in said] == ["", "bootstrap"]


def test_a_token_of_a_megabyte_is_refused_by_grpc_itself(channel: grpc.Channel) -> None:
    assert refusal(channel, bearer("x" * (1 << 20))).code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL")
    assert ask(channel, "x", metadata=bearer(TOKEN)) == "x"


def test_the_scheme_may_be_written_in_any_case(channel: grpc.Channel) -> None:
    assert ask(channel, "x", metadata=(("authorization", f"bEARER {TOKEN}"),)) == "x"


def test_o02_health_is_open_and_reflection_is_not(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection.ServerReflectionInfo(iter([asked]), timeout=20))
    assert unpacked(caught.value).reason == "CREDENTIAL_MISSING"
    [listed] = reflection.ServerReflectionInfo(iter([asked]), timeout=20, metadata=bearer(TOKEN))
    assert listed.list_services_response.service


def test_the_bootstrap_token_can_do_one_thing_and_nobody_else_can(book: Book, channel: grpc.Channel) -> None:
    book.write("mdy_b_1", "bootstrap", is_bootstrap=True)

    assert refusal(channel, bearer("mdy_b_1")).reason == "CREDENTIAL_INVALID"


def test_an_invitation_is_told_to_be_exchanged(book: Book, channel: grpc.Channel) -> None:
    book.write("mdy_t_1", "grace", is_invitation=True)

    refused = refusal(channel, bearer("mdy_t_1"))

    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "TOKEN_IS_INVITATION")
    assert "modelry token rotate" in refused.message


def test_a_credential_is_asked_about_once(book: Book, channel: grpc.Channel) -> None:
    for _ in range(5):
        ask(channel, "x", metadata=bearer(TOKEN))

    assert book.asked == [TOKEN]


def test_a_credential_that_was_refused_is_asked_about_again_after_a_second(book: Book, stage: Stage) -> None:
    with grpc.insecure_channel(stage.address) as channel:
        assert refusal(channel, bearer("new")).reason == "CREDENTIAL_INVALID"
        book.write("new", "bob")
        assert eventually(lambda: ask(channel, "x", metadata=bearer("new")) if _is_in(channel, "new") else None) == "x"


def _is_in(channel: grpc.Channel, token: str) -> bool:
    try:
        ask(channel, "x", metadata=bearer(token))
    except grpc.RpcError:
        return False
    return True


def test_a12_while_access_is_silent_each_call_asks_and_if_it_is_away_none_is_let_in(book: Book) -> None:
    authority = Authority(book, fresh_s=0.2)
    with staged(note, authority=authority) as stage, grpc.insecure_channel(stage.address) as channel:
        authority.heard([Changed()])
        ask(channel, "x", metadata=bearer(TOKEN))
        eventually(lambda: not authority.is_fresh())
        ask(channel, "x", metadata=bearer(TOKEN))
        ask(channel, "x", metadata=bearer(TOKEN))
        asked = list(book.asked)
        book.is_away = True
        found = refusal(channel, bearer(TOKEN))
        book.is_away = False
        authority.heard()
        ask(channel, "x", metadata=bearer(TOKEN))

    assert asked == [TOKEN] * 3
    assert (found.code, found.reason, found.retry) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE", True)


def test_a19_who_guesses_is_slowed_down_without_a_question_and_who_is_known_is_not(book: Book, stage: Stage) -> None:
    with grpc.insecure_channel(stage.address) as channel:
        ask(channel, "x", metadata=bearer(TOKEN))
        found = [refusal(channel, bearer(f"guess-{number}")).reason for number in range(failures.OF_ADDRESS)]
        asked = len(book.asked)
        late = refusal(channel, bearer("guess-more"))

        assert set(found) == {"CREDENTIAL_INVALID"}
        assert (late.code, late.reason, late.retry) == ("RESOURCE_EXHAUSTED", "TOO_MANY_FAILURES", True)
        assert len(book.asked) == asked
        assert ask(channel, "x", metadata=bearer(TOKEN)) == "x"


def test_a19_metrics_and_the_log_tell_of_guesses(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "_log", Log("doors"))  # which has not said it in the last minute
    reasons = ("CREDENTIAL_MISSING", "CREDENTIAL_INVALID", "TOO_MANY_FAILURES")

    def counts() -> list[float]:
        name = "modelry_rpc_credentials_refused_total"
        return [REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0 for reason in reasons]

    before = counts()
    with grpc.insecure_channel(stage.address) as channel:
        refusal(channel, ())
        for number in range(failures.OF_ADDRESS + 2):
            refusal(channel, bearer(f"guess-{number}"))

    assert [now - was for now, was in zip(counts(), before, strict=True)] == [1, failures.OF_ADDRESS, 2]
    [told] = [record for record in caplog.records if record.message == "rpc.too_many_failures"]
    assert told.levelname == "WARNING"


def test_a19_tokens_that_begin_alike_are_slowed_down_from_wherever_they_come() -> None:
    counted = failures.Failures()
    for number in range(failures.OF_PREFIX):
        counted.note(f"ipv4:10.0.0.{number}:99", f"mdy_t_abcdef{number}")

    with pytest.raises(Exception, match="credentials that are not accepted"):
        counted.check("ipv4:10.9.9.9:99", "mdy_t_abcdefXYZ")
    counted.check("ipv4:10.9.9.9:99", "mdy_t_ABCdefXYZ")


def test_a19_guesses_do_not_lock_out_who_was_known_when_all_is_asked_anew(book: Book) -> None:
    """Many callers have one address behind a proxy. Access was away for a moment, so that nothing kept is believed."""
    authority = authority_of(book)
    with staged(note, authority=authority) as stage, grpc.insecure_channel(stage.address) as channel:
        ask(channel, "x", metadata=bearer(TOKEN))
        for number in range(failures.OF_ADDRESS):
            refusal(channel, bearer(f"guess-{number}"))
        authority.heard([Changed()])

        assert ask(channel, "x", metadata=bearer(TOKEN)) == "x"
        assert refusal(channel, bearer("guess-more")).reason == "TOO_MANY_FAILURES"


def test_a19_one_machine_with_many_addresses_is_slowed_down_as_one() -> None:
    counted = failures.Failures()
    for number in range(failures.OF_ADDRESS):
        counted.note(f"ipv6:%5B2001:db8:0:7::{number:x}%5D:{9000 + number}", f"guess-{number}")

    with pytest.raises(Exception, match="credentials that are not accepted"):
        counted.check("ipv6:%5B2001:db8:0:7:ffff::1%5D:99", "guess")
    for peer in ("ipv6:%5B2001:db8:0:8::1%5D:99", "ipv6:%5B::ffff:10.0.0.1%5D:99", "ipv4:10.0.0.1:99", "unix:"):
        counted.check(peer, "guess")


@contextmanager
def streaming(
    authority: Authority,
) -> Iterator[tuple[grpc.Channel, threading.Event]]:
    """A server whose ReadMetrics judges its caller, and then sends a number whenever the event says so."""
    go_on = threading.Event()

    def play() -> Iterator[int]:
        Access(authority).require(Place("default"))
        for number in range(1_000_000):
            yield number
            go_on.wait(30)
            go_on.clear()

    with (
        staged(note, play, authority=authority, limits=limits_with(drain_s=0.2)) as stage,
        grpc.insecure_channel(stage.address) as channel,
    ):
        yield channel, go_on
        go_on.set()


def opened(channel: grpc.Channel, token: str = TOKEN) -> Any:
    stream = tracking.MetricServiceStub(channel).ReadMetrics(tracking.ReadMetricsRequest(), metadata=bearer(token))
    next(stream)
    return stream


def test_a13_an_open_stream_ends_with_the_reason_when_its_credential_is_revoked(book: Book) -> None:
    authority = authority_of(book)
    with streaming(authority) as (channel, go_on):
        stream = opened(channel)
        del book.known[TOKEN]
        authority.heard([Changed(credential_id=f"id of {TOKEN}")])
        go_on.set()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)

    assert unpacked(caught.value).reason == "CREDENTIAL_INVALID"


def test_a13_an_open_stream_that_waits_is_cut_when_its_credential_is_revoked(book: Book) -> None:
    authority = authority_of(book)
    with streaming(authority) as (channel, _):
        stream = opened(channel)
        del book.known[TOKEN]
        begun = time.monotonic()
        authority.heard([Changed(credential_id=f"id of {TOKEN}")])
        with pytest.raises(grpc.RpcError):
            list(stream)

    assert time.monotonic() - begun < 5


def test_a13_an_open_stream_ends_when_the_role_that_it_was_let_in_for_is_gone(book: Book) -> None:
    book.write(TOKEN, "ann", workspace="default")
    authority = authority_of(book)
    with streaming(authority) as (channel, go_on):
        stream = opened(channel)
        book.write(TOKEN, "ann", workspace="elsewhere")
        authority.heard([Changed(principal_id="ann-id")])
        go_on.set()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)

    assert unpacked(caught.value).reason == "PERMISSION_MISSING"


def test_a13_an_open_stream_ends_when_its_credential_is_revoked_after_it_has_ended(book: Book) -> None:
    book.write(TOKEN, "ann", expire_time=time.time() + 1.0)
    authority = authority_of(book)
    with streaming(authority) as (channel, go_on):
        stream = opened(channel)
        eventually(lambda: not _is_in(channel, TOKEN))
        del book.known[TOKEN]
        authority.heard([Changed(credential_id=f"id of {TOKEN}")])
        go_on.set()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)

    assert unpacked(caught.value).reason == "CREDENTIAL_INVALID"


def test_a13_an_open_stream_ends_when_its_credential_gets_another_cap(book: Book) -> None:
    book.write(TOKEN, "ann", cap=["runs.read"])
    authority = authority_of(book)
    with streaming(authority) as (channel, go_on):
        stream = opened(channel)
        book.write(TOKEN, "ann", cap=["files.read"])
        authority.heard([Changed()])
        go_on.set()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)

    assert unpacked(caught.value).reason == "PERMISSION_MISSING"


def test_an_open_stream_goes_on_when_something_else_was_changed(book: Book) -> None:
    authority = authority_of(book)
    with streaming(authority) as (channel, go_on):
        stream = opened(channel)
        authority.heard([Changed(principal_id="bob-id"), Changed(principal_id="ann-id")])
        go_on.set()

        assert next(stream).point_count == 1
        stream.cancel()


def test_a_credential_that_ends_by_itself_does_not_end_what_it_has_begun(book: Book) -> None:
    book.write(TOKEN, "ann", expire_time=time.time() + 1.0)
    authority = authority_of(book)
    with streaming(authority) as (channel, go_on):
        stream = opened(channel)
        eventually(lambda: not _is_in(channel, TOKEN))
        authority.heard([Changed(principal_id="ann-id")])
        go_on.set()

        assert next(stream).point_count == 1
        stream.cancel()


def test_q08_a_principal_has_its_share_of_streams_however_many_connections_it_has(book: Book) -> None:
    book.write("bob", "bob")
    limits = limits_with(streams=4, drain_s=0.2)
    authority = authority_of(book)
    go_on = threading.Event()

    def play() -> Iterator[int]:
        yield 0
        go_on.wait(30)

    with staged(note, play, authority=authority, limits=limits) as stage:
        channels = [
            grpc.insecure_channel(stage.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(3)
        ]
        streams = [opened(channel) for channel in channels[:2]]
        with pytest.raises(grpc.RpcError) as caught:
            opened(channels[2])
        streams.append(opened(channels[2], "bob"))
        go_on.set()
        for stream in streams:
            stream.cancel()
        for channel in channels:
            channel.close()

    assert unpacked(caught.value).reason == "TOO_MANY_STREAMS"
