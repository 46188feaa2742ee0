"""How a process asks access about callers, with a real one: what it keeps, hears, tells, and does without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelry.api.access import v1 as access
from modelry_server.identities import Identities, Watcher
from modelry_server.kernel import caller
from modelry_server.kernel.authority import Authority, Changed
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import CredentialInvalid, ServiceUnavailable
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.transport.channel import Neighbour
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, Who, locked

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


def test_what_a_caller_may_do_is_asked_by_the_service_itself(platform: Locked, asking: Asking) -> None:
    """Else access would have to ask what the caller may do, before it answers that, and so on."""
    identity = asking.authority.identify(platform.somebody("reader").secret).identity
    asking.authority.heard([Changed()])

    with caller.using(Caller(identity.name, "0" * 32, identity=identity)):
        grants = asking.authority.grants_of(identity)

    assert "runs.read" in grants.everywhere
