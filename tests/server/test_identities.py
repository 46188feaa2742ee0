"""How a process asks access about callers, with a real one: what it keeps, hears, tells, and does without it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry.api.common import v1 as common
from modelry.internal.access import v1 as internal
from modelry_server.identities import Identities, Watcher
from modelry_server.kernel import caller, telemetry
from modelry_server.kernel.authority import Authority, Changed
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import CredentialInvalid, ServiceUnavailable
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.transport.channel import Neighbour
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, Who, bearing, locked
from tests.parts.refusal import refused
from tests.server.kernel.stage import ask, staged

FRESH_S = 2.0


class Asking:
    """Another process that asks access. Its jobs run when a test says so."""

    def __init__(self, platform: Locked) -> None:
        deployment = platform.deployment
        address = deployment.internal_address("access")
        self.neighbour = Neighbour("access", address, key=deployment.service_key, knows_callers=True, longest_s=2)
        identities = Identities(self.neighbour)
        self.authority = Authority(identities, fresh_s=FRESH_S)
        self.jobs: dict[str, Job] = {each.name: each for each in Watcher(self.authority, identities).jobs()}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A block in which the stream of changes is read."""
        watch = self.jobs["watch-access"]
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        try:
            eventually(self.authority.is_fresh)
            yield
        finally:
            assert watch.interrupt is not None
            watch.interrupt()
            thread.join(10)

    def knows(self, who: Who) -> bool:
        """Whether a token is accepted."""
        try:
            return self.authority.identify(who.secret).identity.principal_id == who.principal_id
        except CredentialInvalid:
            return False


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """The platform at work; leave its process alone."""
    with locked("all", tmp_path_factory.mktemp("locked")) as found:
        yield found


@pytest.fixture
def asking(platform: Locked) -> Iterator[Asking]:
    """Another process."""
    found = Asking(platform)
    yield found
    found.neighbour.close()


def read(platform: Locked, who: Who) -> access.Token:
    """A token as it is now."""
    request = access.GetTokenRequest(token_id=who.token_id)
    found: access.Token = platform.ask("access.v1.TokenService/GetToken", request).token
    return found


def test_the_use_of_a_token_is_told_once_until_it_is_used_again(platform: Locked, asking: Asking) -> None:
    me, unused = platform.somebody(), platform.somebody()
    tell = asking.jobs["log-token-uses"]
    assert asking.knows(me)

    tell.run()

    first = read(platform, me).last_use_time
    assert first.ToMilliseconds() >= read(platform, me).create_time.ToMilliseconds()
    assert not read(platform, unused).HasField("last_use_time")
    tell.run()
    assert read(platform, me).last_use_time == first
    assert asking.knows(me)
    tell.run()
    assert read(platform, me).last_use_time.ToMilliseconds() > first.ToMilliseconds()
    assert 10 <= tell.interval_s <= 60


def test_the_use_of_a_token_that_is_kept_is_told_too(platform: Locked, asking: Asking) -> None:
    me = platform.somebody()
    with asking.watching():
        asking.knows(me)
        asking.jobs["log-token-uses"].run()
        first = read(platform, me).last_use_time.ToMilliseconds()

        assert asking.knows(me)
        asking.jobs["log-token-uses"].run()

    assert read(platform, me).last_use_time.ToMilliseconds() > first


def test_what_is_kept_is_forgotten_when_it_changes(platform: Locked, asking: Asking) -> None:
    me, other = platform.somebody(), platform.somebody()
    with asking.watching():
        assert asking.knows(me)
        assert asking.knows(other)

        platform.revoke(me)
        platform.disable(other)

        eventually(lambda: not asking.knows(me), within_s=2)
        eventually(lambda: not asking.knows(other), within_s=2)


def test_without_access_nothing_kept_is_believed_for_long_and_nobody_is_let_through(tmp_path: Path) -> None:
    with locked("all", tmp_path) as platform:
        asking, me = Asking(platform), platform.somebody()
        with asking.watching():
            assert asking.knows(me)

        eventually(lambda: not asking.authority.is_fresh())
        assert asking.knows(me)  # it asks again
        platform.deployment.stop()

        with pytest.raises(ServiceUnavailable):
            asking.authority.identify(me.secret)
        with pytest.raises(ServiceUnavailable):
            asking.authority.identify("mdy_t_" + "x" * 36)
        asking.neighbour.close()


def test_what_access_cant_answer_is_no_fault_of_the_call(asking: Asking) -> None:
    groups = frozenset(f"group-{number}" for number in range(1001))  # more than access takes

    with pytest.raises(ServiceUnavailable) as refusal:
        Identities(asking.neighbour).grants("0" * 32, groups)

    assert refusal.value.metadata["cause"] == "FIELD_INVALID"


def test_what_a_caller_may_do_is_asked_by_the_service_itself(platform: Locked, asking: Asking) -> None:
    """Else access would have to ask what the caller may do, before it answers that, and so on."""
    identity = asking.authority.identify(platform.somebody("reader").secret).identity
    asking.authority.heard([Changed()])

    with caller.using(Caller(identity.name, "0" * 32, identity=identity)):
        grants = asking.authority.grants_of(identity)

    assert "runs.read" in grants.everywhere


UNKNOWN = b"\xa2\x1f\x05later"
"""The field 500, which no message has, as it arrives: one of a later release."""
TOKEN = "mdy_t_" + "x" * 36


class OfAnotherRelease(internal.IdentityServiceServicer):
    """An access that says something else of every token than that of this release."""

    GetGrants = WatchChanges = LogTokenUses = None  # type: ignore[assignment]

    def __init__(self, change: Callable[[internal.Identity], object]) -> None:
        self._change = change

    def GetIdentity(self, request: Any, context: Any) -> internal.GetIdentityResponse:
        """Says that it is Ann's, for everything and for a long time."""
        caps = internal.Caps(any_permission=True, any_workspace=True)
        caps.expire_time.FromSeconds(9_000_000_000)
        ann = internal.Identity(
            principal_id="0" * 32,
            name="ann",
            credential_kind=common.CREDENTIAL_KIND_API_TOKEN,
            credential_id="1" * 32,
            caps=caps,
        )
        self._change(ann)
        everywhere = internal.Grants(permissions=["runs.read"], places=[access.Place(everywhere=True)])
        return internal.GetIdentityResponse(identity=ann, grants=[everywhere])


@contextmanager
def asking_another_release(change: Callable[[internal.Identity], object]) -> Iterator[Authority]:
    """What a process knows of callers from an access of another release."""
    server = grpc.server(ThreadPoolExecutor(2))
    internal.add_IdentityServiceServicer_to_server(OfAnotherRelease(change), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    neighbour = Neighbour("access", f"127.0.0.1:{port}", key="k" * 32, knows_callers=True)
    try:
        yield Authority(Identities(neighbour))
    finally:
        neighbour.close()
        server.stop(0).wait()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ann: ann.caps.MergeFromString(UNKNOWN), "limits the credential by Caps.500"),
        (lambda ann: ann.caps.expire_time.MergeFromString(UNKNOWN), "limits the credential by Caps.expire_time.500"),
        (lambda ann: setattr(ann, "credential_kind", 77), "the credential is of the kind 77"),
    ],
)
def test_who_may_be_limited_in_a_way_that_is_not_known_here_is_not_let_in(
    change: Callable[[internal.Identity], object], told: str
) -> None:
    log = io.StringIO()
    telemetry.start_logging("info", log)

    with (
        asking_another_release(change) as authority,
        staged(authority=authority) as stage,
        grpc.insecure_channel(stage.address) as channel,
    ):
        stub = access.WorkspaceServiceStub(channel)
        refusal = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="x"), metadata=bearing(TOKEN))

    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
    assert refusal.metadata["service"] == "access"
    assert refusal.metadata["cause"] == f"it is of a later release, and {told}"
    [line] = [each for each in map(json.loads, log.getvalue().splitlines()) if each["event"] == "rpc.unavailable"]
    assert "later release" in line["message"]
    assert TOKEN not in log.getvalue()


def test_what_a_later_release_says_beside_the_limits_of_a_credential_is_ignored() -> None:
    with asking_another_release(lambda ann: ann.MergeFromString(UNKNOWN)) as authority:
        with staged(authority=authority) as stage, grpc.insecure_channel(stage.address) as channel:
            assert ask(channel, "x", metadata=bearing(TOKEN)) == "x"
        assert authority.identify(TOKEN).identity.permission_cap is None


def test_a_limit_that_an_earlier_release_does_not_say_allows_nothing() -> None:
    with asking_another_release(lambda ann: ann.ClearField("caps")) as authority:
        identity = authority.identify(TOKEN).identity

    assert (identity.permission_cap, identity.workspace_cap) == (frozenset(), frozenset())
    assert identity.expire_time == 0
