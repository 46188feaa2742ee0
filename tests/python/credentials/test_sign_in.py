"""People and programs who are known by an issuer or a certificate log runs on a real platform."""

from __future__ import annotations

import logging
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

import modelry
from modelry import Client, credentials
from modelry._sdk.fluent import session
from modelry.api.access import v1 as access
from modelry.errors import ModelryError, NotFound, PermissionDenied, Unauthenticated
from modelry_server.kernel.ids import new_id
from tests.parts import free_port, hostile_issuer
from tests.parts import oidc_provider as providers
from tests.parts.certificates import Authority
from tests.parts.eventually import at_once, eventually
from tests.parts.hostile_issuer import HostileIssuer
from tests.parts.locked import Locked, bearing, code_of, locked
from tests.parts.oidc_provider import CLIENT, OidcProvider

SUBJECT = "system:serviceaccount:risk:trainer"
LIFETIME_S = 4
ISSUERS = """
[[issuer]]
name = "company"
url = "{company}"
audiences = ["modelry"]
client_id = "modelry-cli"
group_prefix = "company:"

[[issuer]]
name = "partner"
url = "{partner}"
audiences = ["modelry"]
group_prefix = "partner:"

[[issuer]]
name = "short"
url = "{short}"
audiences = ["modelry"]
groups_claim = ""

[[issuer]]
name = "cluster"
url = "{cluster}"
audiences = ["modelry"]
kind = "service_account"

[[issuer.rule]]
claims = {{ sub = "system:serviceaccount:risk:trainer" }}
name = "{{kubernetes.io/namespace}}-trainer"
"""
HERE = access.Place(workspace="default")


@dataclass
class World:
    """A platform and the issuers that it trusts. `short` gives tokens that last for a few seconds."""

    platform: Locked
    company: OidcProvider
    short: OidcProvider
    partner: HostileIssuer
    cluster: HostileIssuer

    @property
    def address(self) -> str:
        """Where the platform answers."""
        return self.platform.deployment.address

    def who(self, token: str) -> Any:
        """Who calls with a token."""
        return self.platform.ask("access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest(), bearing(token))

    def knows(self, token: str) -> bool:
        """Whether a token is accepted."""
        try:
            return bool(self.who(token).authenticated)
        except grpc.RpcError as error:
            if code_of(error) != "UNAUTHENTICATED":
                raise
            return False

    def principal(self, name: str) -> Any:
        """A principal by its name."""
        request = access.GetPrincipalRequest(name=name)
        return self.platform.ask("access.v1.PrincipalService/GetPrincipal", request).principal

    def bind_group(self, group: str, role: str) -> None:
        """Gives a role in the workspace `default` to a group of tokens."""
        self.platform.ask("access.v1.GroupService/CreateGroup", access.CreateGroupRequest(name=group))
        request = access.CreateRoleBindingRequest(role=role, group=group, place=HERE)
        self.platform.ask("access.v1.RoleService/CreateRoleBinding", request)

    def client(self, token: str) -> Client:
        """A client with a token."""
        return Client(self.address, token=token)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, oidc_provider: OidcProvider) -> Iterator[World]:
    """The platform at work; `company:researchers` write in the workspace `default`."""
    folder = tmp_path_factory.mktemp("sign-in")
    with (
        providers.running(folder / "short", lifetime_s=LIFETIME_S) as short,
        hostile_issuer.running() as partner,
        hostile_issuer.running() as cluster,
    ):
        urls = {"company": oidc_provider.issuer, "short": short.issuer}
        (folder / "issuers.toml").write_text(ISSUERS.format(**urls, partner=partner.url, cluster=cluster.url))
        settings = {"access.issuers-file": str(folder / "issuers.toml")}
        with locked("all", folder / "platform", settings) as platform:
            made = World(platform, oidc_provider, short, partner, cluster)
            made.bind_group("company:researchers", "writer")
            yield made


def claims_of(issuer: HostileIssuer, subject: str, lifetime_s: float = 60, **more: object) -> dict[str, object]:
    """What a token of an issuer says."""
    now = time.time()
    known = {"iss": issuer.url, "aud": hostile_issuer.AUDIENCE, "sub": subject, "iat": now, "exp": now + lifetime_s}
    return {**known, "jti": new_id(), **more}


def browser(provider: OidcProvider, user: str) -> Callable[[str], object]:
    """Logs in as a person does in a browser, who is then sent back to this machine."""

    def go(url: str) -> None:
        redirect = provider.authorize(url, user)
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(redirect, timeout=20).close()

    return lambda url: threading.Thread(target=go, args=(url,), daemon=True).start()


def logs_a_run(address: str) -> str:
    """Logs a run with a param, metrics and a file; its id."""
    modelry.set_tracking_uri(address)
    with modelry.start_run() as run:
        modelry.log_param("lr", 0.1)
        for step in range(20):
            modelry.log_metric("loss", 1.0, step=step)
        modelry.log_text("words", "notes.txt")
        assert modelry.flush(30)
    return run.id


def assert_logged(client: Client, run_id: str) -> None:
    assert client.runs.get(run_id).params["lr"] == "0.1"
    assert len(client.metrics.read(run_id, "loss").steps) == 20
    assert [each.path for each in client.artifacts.list(f"runs/{run_id}")] == ["notes.txt"]


def refusal(action: Callable[[], object]) -> ModelryError:
    """The error that an action ends with."""
    with pytest.raises(ModelryError) as raised:
        action()
    return raised.value


@pytest.mark.parametrize("way", ["browser", "device"])
def test_a_person_logs_in_appears_by_herself_and_logs_a_run(world: World, way: str) -> None:
    if way == "browser":
        login = credentials.log_in(world.address, visit=browser(world.company, "ada"), issuer=world.company.issuer)
    else:
        login = credentials.log_in(
            world.address,
            show_code=lambda url, code, whole: world.company.device_approve(code, "ada"),
            issuer=world.company.issuer,
        )

    run_id = logs_a_run(world.address)

    assert (login.issuer, login.client_id) == (world.company.issuer, CLIENT)
    ada = world.principal("ada")
    assert (ada.kind, ada.issuer, ada.external_id) == (access.PRINCIPAL_KIND_USER, world.company.issuer, "ada")
    assert_logged(Client(world.address), run_id)
    found = world.who(world.company.token("ada"))
    assert (found.principal.principal_id, list(found.groups)) == (ada.principal_id, ["company:researchers"])
    assert [(each.place, list(each.roles)) for each in found.grants] == [(HERE, ["writer"])]
    assert not found.HasField("token")


@pytest.mark.parametrize("way", ["token", "login"])
def test_a_token_of_an_issuer_is_known_to_each_of_four_servers(
    oidc_provider: OidcProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "issuers.toml").write_text(
        f'[[issuer]]\nname = "company"\nurl = "{oidc_provider.issuer}"\naudiences = ["modelry"]\n'
        f'client_id = "{CLIENT}"\n'
    )
    settings = {"access.issuers-file": str(tmp_path / "issuers.toml")}
    with locked("split", tmp_path / "platform", settings) as platform:
        platform.ask("access.v1.GroupService/CreateGroup", access.CreateGroupRequest(name="researchers"))
        request = access.CreateRoleBindingRequest(role="writer", group="researchers", place=HERE)
        platform.ask("access.v1.RoleService/CreateRoleBinding", request)
        for name, value in platform.deployment.environment().items():
            monkeypatch.setenv(name, value)
        session.renew()
        if way == "token":
            monkeypatch.setenv("MODELRY_TOKEN", oidc_provider.token("ada"))
        else:
            credentials.log_in(visit=browser(oidc_provider, "ada"), issuer=oidc_provider.issuer)

        run_id = logs_a_run(platform.deployment.address)

        assert_logged(Client(), run_id)
        assert Client().runs.get(run_id).creator == "ada"
        session.renew()


def test_a_person_without_a_role_is_known_and_sees_nothing(world: World) -> None:
    client = world.client(world.company.token(name := f"eve-{new_id()}"))

    assert isinstance(refusal(lambda: client.experiments.get("0")), NotFound)
    assert world.principal(name).external_id == name


def test_people_who_appear_at_once_appear_once_each_with_names_of_their_own(world: World) -> None:
    name, subjects = f"kim-{new_id()}", [new_id() for _ in range(3)]
    tokens = [
        world.partner.token(claims_of(world.partner, subject, preferred_username=name))
        for subject in subjects
        for _ in range(4)
    ]
    world.who(world.partner.token(claims_of(world.partner, new_id())))  # so that the keys of the issuer are there

    found = at_once([partial(world.who, token) for token in tokens])

    people = [each.principal for each in found if not isinstance(each, Exception)]
    assert [each for each in found if isinstance(each, Exception)] == []
    assert len({each.principal_id for each in people}) == 3
    assert {each.name for each in people} == {name, f"{name} (2)", f"{name} (3)"}
    assert {each.external_id for each in people} == set(subjects)


def test_a_role_of_a_group_holds_as_long_as_it_is_bound(world: World) -> None:
    token = world.partner.token(claims_of(world.partner, new_id(), groups=["readers"]))
    client = world.client(token)
    assert isinstance(refusal(lambda: client.experiments.get("0")), NotFound)

    world.bind_group("partner:readers", "reader")

    eventually(lambda: _answers(lambda: client.experiments.get("0")), within_s=5)
    assert isinstance(refusal(lambda: client.experiments.create(new_id())), PermissionDenied)
    world.platform.ask("access.v1.GroupService/DeleteGroup", access.DeleteGroupRequest(name="partner:readers"))
    eventually(lambda: not _answers(lambda: client.experiments.get("0")), within_s=5)


def _answers(action: Callable[[], object]) -> bool:
    try:
        action()
    except ModelryError:
        return False
    return True


def test_a_login_whose_tokens_last_for_seconds_is_renewed_while_a_run_logs(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    token = world.short.token(name := f"bob-{new_id()}")
    world.platform.bind(world.who(token).principal.principal_id, "writer", HERE)
    credentials.log_in(world.address, visit=browser(world.short, name), issuer=world.short.issuer, client_id=CLIENT)
    modelry.set_tracking_uri(world.address)
    until, step, pause = time.monotonic() + 3 * LIFETIME_S, 0, threading.Event()

    with modelry.start_run() as run:
        while time.monotonic() < until:
            modelry.log_metric("loss", 1.0, step=(step := step + 1))
            pause.wait(0.01)
        assert modelry.flush(30)

    assert list(Client(world.address).metrics.read(run.id, "loss").steps) == list(range(1, step + 1))
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_an_issuer_speaks_for_its_own_people_only(world: World) -> None:
    world.who(world.company.token("ada"))
    ada = claims_of(world.partner, "ada", preferred_username="ada", groups=["company:researchers", "researchers"])

    other = world.who(world.partner.token(ada))

    assert (other.principal.name, other.principal.issuer) == ("ada (2)", world.partner.url)
    assert list(other.groups) == ["partner:company:researchers", "partner:researchers"]
    assert list(other.grants) == []


@pytest.mark.parametrize("lie", ["issuer", "issuer and key id", "audience", "nobody's issuer", "no signature", "over"])
def test_a_token_that_lies_is_refused_and_nobody_appears(world: World, lie: str) -> None:
    world.who(world.company.token("ada"))
    name, partner = f"mallory-{new_id()}", world.partner
    claims = claims_of(partner, name, preferred_username=name)
    as_company = {**claims, "iss": world.company.issuer}
    token = {
        "issuer": lambda: partner.token(as_company),
        "issuer and key id": lambda: partner.token(as_company, {"kid": world.company.key_id}),
        "audience": lambda: world.company.token(name, "another"),
        "nobody's issuer": lambda: partner.token({**claims, "iss": "http://127.0.0.1:1"}),
        "no signature": lambda: f"{hostile_issuer.part({'alg': 'none', 'kid': 'x'})}.{hostile_issuer.part(claims)}.",
        "over": lambda: partner.token({**claims, "iat": time.time() - 90, "exp": time.time() - 1}),
    }[lie]()

    found = refusal(lambda: world.client(token).experiments.get("0"))

    assert (found.code, found.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
    assert token not in str(found)
    with pytest.raises(grpc.RpcError) as raised:
        world.principal(name)
    assert code_of(raised.value) == "NOT_FOUND"


def test_a_disabled_person_is_refused_with_every_token_until_enabled(world: World) -> None:
    claims = claims_of(world.partner, new_id())
    token = world.partner.token(claims)
    given = access.Principal(principal_id=world.who(token).principal.principal_id, disabled=True)
    disabling = access.UpdatePrincipalRequest(principal=given)
    world.platform.ask("access.v1.PrincipalService/UpdatePrincipal", disabling)

    eventually(lambda: not world.knows(token), within_s=5)
    assert not world.knows(world.partner.token({**claims, "jti": new_id()}))
    given.disabled = False
    disabling.principal.CopyFrom(given)
    disabling.update_mask.paths.append("disabled")
    world.platform.ask("access.v1.PrincipalService/UpdatePrincipal", disabling)
    assert eventually(lambda: world.knows(token), within_s=5)


def test_revoking_all_tokens_refuses_those_that_an_issuer_made_before(world: World) -> None:
    subject = new_id()
    before = world.partner.token(claims_of(world.partner, subject))
    unused = world.partner.token(claims_of(world.partner, subject))
    me = world.who(before).principal.principal_id

    request = access.RevokeTokensRequest(principal_id=me)
    assert world.platform.ask("access.v1.TokenService/RevokeTokens", request).revoked_count == 0

    eventually(lambda: not world.knows(before), within_s=5)
    assert not world.knows(unused)
    assert eventually(lambda: world.knows(world.partner.token(claims_of(world.partner, subject))), within_s=5)


def test_a_pod_logs_with_a_token_of_seconds_that_is_rotated_in_its_file_and_loses_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, over, rotations = tmp_path / "token", threading.Event(), 0
    monkeypatch.setenv("MODELRY_TOKEN_FILE", str(file))
    monkeypatch.setenv("MODELRY_TRACKING_URI", world.address)

    def project() -> str:
        names = {"namespace": "risk", "serviceaccount": {"name": "trainer", "uid": new_id()}}
        token = world.cluster.token(claims_of(world.cluster, SUBJECT, 3, **{"kubernetes.io": names}))
        new = file.with_name("new")
        new.write_text(token)
        os.replace(new, file)
        return token

    def rotate() -> None:
        nonlocal rotations
        while not over.wait(2):
            project()
            rotations += 1

    pod = world.who(first := project()).principal
    world.platform.bind(pod.principal_id, "writer", HERE)
    session.renew()
    rotator = threading.Thread(target=rotate)
    rotator.start()
    try:
        with modelry.start_run() as run:
            for step in range(2000):
                modelry.log_metric("loss", 1.0, step=step)
                over.wait(0.005)
            modelry.log_text("words", "notes.txt")
            assert modelry.flush(30)
        client = Client(world.address)
        assert list(client.metrics.read(run.id, "loss").steps) == list(range(2000))
        assert [each.path for each in client.artifacts.list(f"runs/{run.id}")] == ["notes.txt"]
    finally:
        over.set()
        rotator.join()

    assert (pod.name, pod.kind) == ("risk-trainer", access.PRINCIPAL_KIND_SERVICE_ACCOUNT)
    assert rotations >= 3
    assert not world.knows(first)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_another_pod_of_the_cluster_is_nobody(world: World) -> None:
    names: Any = {"kubernetes.io": {"namespace": "risk"}}

    for subject in ("system:serviceaccount:risk:other", f"{SUBJECT}2", "system:serviceaccount:other:trainer"):
        assert not world.knows(world.cluster.token(claims_of(world.cluster, subject, **names)))


def test_an_issuer_that_is_away_ends_nobody_who_is_known_and_lets_nobody_new_in(tmp_path: Path) -> None:
    with providers.running(tmp_path / "provider") as provider:
        (tmp_path / "issuers.toml").write_text(
            f'[[issuer]]\nname = "company"\nurl = "{provider.issuer}"\naudiences = ["modelry"]\n'
        )
        settings = {"access.issuers-file": str(tmp_path / "issuers.toml")}
        with locked("all", tmp_path / "platform", settings) as platform:
            ada, bob = provider.token("ada"), provider.token("bob")

            def who(token: str) -> Any:
                return platform.ask("access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest(), bearing(token))

            def known(token: str) -> str:
                found = _ended(lambda: Client(platform.deployment.address, token=token).experiments.get("0"))
                return "" if found is None else found.reason

            platform.bind(who(ada).principal.principal_id, "reader", HERE)
            provider.stop()
            assert known(ada) == ""
            assert who(bob).principal.name == "bob"  # the keys of the issuer are in memory
            platform.deployment.stop()
            platform.deployment.start()
            eventually(lambda: known(ada) == "SERVICE_UNAVAILABLE", within_s=5)
            assert known(platform.admin.secret) == ""
            provider.start()
            assert eventually(lambda: known(ada) == "", within_s=15)


def _ended(action: Callable[[], object]) -> ModelryError | None:
    try:
        action()
    except ModelryError as error:
        return error
    return None


@contextmanager
def certified(folder: Path) -> Iterator[tuple[Locked, Authority, str]]:
    """A platform that asks for client certificates at a port of its own; who issues them; that port."""
    authority, port = Authority(folder / "authority"), free_port()
    settings = {"server.mtls-listen": f"127.0.0.1:{port}", "server.client-ca-file": str(authority.file)}
    with locked("all", folder / "platform", settings, authority=authority) as platform:
        yield platform, authority, f"grpcs://127.0.0.1:{port}"


def test_a_service_with_a_certificate_logs_a_run_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "spiffe://cluster.local/ns/risk/sa/trainer"
    with certified(tmp_path) as (platform, authority, address):
        own = authority.issue("trainer", hosts=(), uris=(uri,))
        other = authority.issue("other", hosts=(), uris=(f"{uri}2",))
        kind = access.PRINCIPAL_KIND_SERVICE_ACCOUNT
        request = access.CreatePrincipalRequest(kind=kind, name="trainer", issuer="certificate", external_id=uri)
        made = platform.ask("access.v1.PrincipalService/CreatePrincipal", request).principal
        platform.bind(made.principal_id, "writer", HERE)
        monkeypatch.setenv("MODELRY_CA_FILE", str(authority.file))
        monkeypatch.setenv("MODELRY_CLIENT_CERTIFICATE_FILE", str(own.certificate))
        monkeypatch.setenv("MODELRY_CLIENT_KEY_FILE", str(own.key))
        session.renew()

        run_id = logs_a_run(address)

        client = Client(address)
        assert_logged(client, run_id)
        assert client.runs.get(run_id).creator == "trainer"
        files: Any = {"client_certificate_file": str(other.certificate), "client_key_file": str(other.key)}
        stranger = _ended(lambda: Client(address, ca_file=str(authority.file), **files).experiments.get("0"))
        assert isinstance(stranger, Unauthenticated)
        assert stranger.reason == "CREDENTIAL_INVALID"
        given = access.Principal(principal_id=made.principal_id, disabled=True)
        disabling = access.UpdatePrincipalRequest(principal=given)
        platform.ask("access.v1.PrincipalService/UpdatePrincipal", disabling)
        eventually(lambda: not _answers(lambda: client.runs.get(run_id)), within_s=5)
        session.renew()
