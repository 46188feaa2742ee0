from __future__ import annotations

import pytest

import modelry
from modelry._sdk.fluent import session
from modelry.errors import InvalidArgument, Unavailable

HERE = "127.0.0.1:7001"
REGISTRY = "127.0.0.1:7002"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("ACCESS", "ARTIFACTS"):
        monkeypatch.delenv(f"MODELRY_{room}_URI", raising=False)
    monkeypatch.setenv("MODELRY_TRACKING_URI", HERE)
    monkeypatch.setenv("MODELRY_REGISTRY_URI", REGISTRY)


def targets(client: modelry.Client) -> list[str]:
    nouns = (client.runs, client.workspaces, client.artifacts, client.versions)
    return [noun._connection.address.target for noun in nouns]


def test_a_service_with_an_address_of_its_own_is_called_there_and_the_others_at_that_of_tracking() -> None:
    assert targets(modelry.Client()) == [HERE, HERE, HERE, REGISTRY]
    assert targets(session.current().client()) == [HERE, HERE, HERE, REGISTRY]
    assert modelry.get_registry_uri() == REGISTRY


def test_naming_the_address_of_the_environment_changes_nothing() -> None:
    assert targets(modelry.Client(f"grpc://{HERE}")) == [HERE, HERE, HERE, REGISTRY]


def test_naming_another_server_means_all_of_it() -> None:
    other = "127.0.0.1:7009"

    assert targets(modelry.Client(other)) == [other, other, other, other]


def test_one_platform_at_one_address_needs_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELRY_REGISTRY_URI")

    assert targets(modelry.Client()) == [HERE, HERE, HERE, HERE]
    assert modelry.get_registry_uri() == HERE


def test_a_bad_address_of_a_service_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRY_REGISTRY_URI", "bad://x")

    with pytest.raises(InvalidArgument, match="MODELRY_REGISTRY_URI 'bad://x'"):
        modelry.Client()


def test_a_service_that_does_not_answer_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, port in (("MODELRY_TRACKING_URI", 1), ("MODELRY_REGISTRY_URI", 2)):
        monkeypatch.setenv(variable, f"127.0.0.1:{port}")
    client = modelry.Client()

    with pytest.raises(Unavailable, match="set MODELRY_REGISTRY_URI"):
        client.models.delete("m")
    with pytest.raises(Unavailable, match="set MODELRY_TRACKING_URI"):
        client.runs.delete_tags("0" * 32, "a")


def test_the_address_of_the_registry_is_taken_back() -> None:
    for nothing in (None, ""):
        modelry.set_registry_uri("127.0.0.1:7003")
        assert modelry.get_registry_uri() == "127.0.0.1:7003"
        modelry.set_registry_uri(nothing)
        assert modelry.get_registry_uri() == REGISTRY
    with pytest.raises(InvalidArgument, match="registry URI 'bad://x'"):
        modelry.set_registry_uri("bad://x")
