"""What holds for aliases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.kernel.errors import FieldInvalid, LimitReached
from modelry_server.registry.domain.names import ALIASES_PER_MODEL
from modelry_server.registry.errors import AliasNotFound, ModelNotFound, VersionNotFound
from modelry_server.registry.store import aliases as alias_rows
from tests.server.registry.conftest import Registry


@pytest.fixture(autouse=True)
def _versions(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")
    registry.a_version("fraud", tags={"k": "v"})


def test_an_alias_is_answered_with_the_version_that_it_points_at(registry: Registry) -> None:
    registry.aliases.point("default", "fraud", "champion", 2)

    alias, version = registry.aliases.resolve("default", "fraud", "champion")

    assert (alias.alias, alias.version_number, alias.update_time) == ("champion", 2, registry.clock.now())
    assert (version.version_number, version.tags, version.aliases) == (2, {"k": "v"}, ("champion",))
    assert registry.get("fraud").aliases == {"champion": 2}


def test_an_alias_moves_from_version_to_version(registry: Registry) -> None:
    registry.aliases.point("default", "fraud", "champion", 1)
    registry.clock.advance(1)

    registry.aliases.point("default", "fraud", "champion", 2)

    alias, version = registry.aliases.resolve("default", "fraud", "champion")
    assert (alias.update_time, version.version_number) == (registry.clock.now(), 2)


def test_pointing_where_it_points_changes_nothing(registry: Registry) -> None:
    before = registry.aliases.point("default", "fraud", "champion", 1)
    registry.clock.advance(1)

    assert registry.aliases.point("default", "fraud", "champion", 1) == before
    assert [record.members()["action"] for record in registry.records()] == ["model.created", "alias.set"]


def test_a_version_may_have_many_aliases_and_upper_and_lower_case_differ(registry: Registry) -> None:
    for alias in ("champion", "Champion", "blue"):
        registry.aliases.point("default", "fraud", alias, 1)

    assert registry.aliases.resolve("default", "fraud", "blue")[1].aliases == ("Champion", "blue", "champion")


def test_a_removed_alias_is_gone_and_the_version_stays(registry: Registry) -> None:
    registry.aliases.point("default", "fraud", "champion", 1)

    registry.aliases.delete("default", "fraud", "champion")

    with pytest.raises(AliasNotFound, match="no alias 'champion'") as refusal:
        registry.aliases.resolve("default", "fraud", "champion")
    assert (refusal.value.kind, refusal.value.name) == ("alias", "fraud@champion")
    assert registry.get("fraud").last_version_number == 2


def test_what_can_be_taken_for_something_else_is_no_alias(registry: Registry) -> None:
    with pytest.raises(FieldInvalid, match="looks like a version number") as refusal:
        registry.aliases.point("default", "fraud", "v3", 1)

    assert list(refusal.value.violations) == ["alias"]


def test_a_model_has_at_most_as_many_aliases_as_can_be_sent(registry: Registry) -> None:
    model_id = registry.get("fraud").model_id
    with registry.db.write() as tx:
        for number in range(ALIASES_PER_MODEL):
            alias_rows.point(tx, model_id, f"alias-{number}", 1, 1000)

    with pytest.raises(LimitReached, match="2001 aliases of the model in all, at most 2000"):
        registry.aliases.point("default", "fraud", "champion", 1)

    assert registry.aliases.point("default", "fraud", "alias-7", 2).version_number == 2


def test_what_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        registry.aliases.point("default", "none", "champion", 1)
    with pytest.raises(VersionNotFound):
        registry.aliases.point("default", "fraud", "champion", 3)
    with pytest.raises(ModelNotFound):
        registry.aliases.resolve("default", "none", "champion")
    for alias in ("champion", "a/b", "latest"):
        with pytest.raises(AliasNotFound):
            registry.aliases.resolve("default", "fraud", alias)
        with pytest.raises(AliasNotFound):
            registry.aliases.delete("default", "fraud", alias)


@pytest.mark.parametrize("reason", ["x" * 5001, "a\0b"])
def test_a_reason_beyond_its_limit_is_refused(registry: Registry, reason: str) -> None:
    with pytest.raises(FieldInvalid, match="reason"):
        registry.aliases.point("default", "fraud", "champion", 1, reason=reason)
    with pytest.raises(FieldInvalid, match="reason"):
        registry.aliases.delete("default", "fraud", "champion", reason=reason)


def test_of_many_who_point_at_once_the_last_one_decides_and_each_is_on_record(registry: Registry) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: registry.aliases.point("default", "fraud", "champion", n % 2 + 1), range(32)))

    last = registry.records()[-1].members()["version_number"]
    assert registry.aliases.resolve("default", "fraud", "champion")[0].version_number == last


@pytest.mark.parametrize("missing", ["workspace", "model_name", "alias"])
def test_what_a_request_is_about_is_required(registry: Registry, missing: str) -> None:
    names = {"workspace": "default", "model_name": "fraud", "alias": "champion", missing: ""}

    for ask in (lambda: registry.aliases.resolve(**names), lambda: registry.aliases.delete(**names)):
        with pytest.raises(FieldInvalid, match=f"{missing}: is required"):
            ask()
