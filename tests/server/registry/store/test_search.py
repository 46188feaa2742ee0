"""What a search over many rows finds, in which order, and how its pages fit together."""

import pytest

from modelry_server.kernel.access import ALL
from modelry_server.kernel.filter import FilterSyntax, parse, parse_order
from modelry_server.mlflow_words import MODELS, VERSIONS
from modelry_server.registry.store import search
from modelry_server.registry.store.search import Key
from tests.server.registry.conftest import Registry

STAGES = ("None", "Staging", "Production", "Archived")


def found(registry: Registry, filter: str, *order_by: str, size: int = 3) -> list[tuple[str, int]]:
    """Models and numbers of all versions that a filter finds, read by pages."""
    after: Key | None = None
    rows: list[tuple[str, int]] = []
    while True:
        with registry.db.read() as tx:
            node = parse(filter, search.SCOPES, words=VERSIONS)
            keys = parse_order(order_by, search.SCOPES, words=VERSIONS)
            read = search.versions_page(tx, "default", node, keys, within=ALL, stages=STAGES, after=after, limit=size)
            page = list(read)
        rows += [(each.item.model_name, each.item.version_number) for each in page]
        if len(page) < size:
            return rows
        after = page[-1].key


@pytest.fixture(autouse=True)
def _versions(registry: Registry) -> None:
    for model in ("fraud", "churn"):
        registry.a_model(model)
        for number in range(1, 6):
            registry.clock.advance(1)
            tags = {"half": str(number // 2)} | ({"odd": "yes"} if number % 2 else {})
            stage = "Production" if number == 2 else "None"
            registry.a_version(model, tags=tags, stage=stage, creator=f"user-{number % 3}")
    registry.aliases.point("default", "fraud", "champion", 4)
    registry.aliases.point("default", "fraud", "best", 4)
    registry.aliases.point("default", "churn", "champion", 1)


def test_without_an_order_the_newest_come_first(registry: Registry) -> None:
    newest_first = [(model, number) for model in ("churn", "fraud") for number in (5, 4, 3, 2, 1)]

    assert found(registry, "") == newest_first
    assert found(registry, "", size=1) == newest_first


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_pages_hold_each_row_once_also_where_keys_are_equal_or_missing(registry: Registry, size: int) -> None:
    order = ["tags.odd DESC", "tags.half", "creator DESC", "model_name"]

    paged = found(registry, "", *order, size=size)

    assert paged == found(registry, "", *order, size=1000)
    assert sorted(paged) == sorted(found(registry, ""))
    assert [number % 2 for _, number in paged] == [1] * 6 + [0] * 4


@pytest.mark.parametrize(
    ("filter", "numbers"),
    [
        ("name = 'fraud' AND stage = 'Production'", [2]),
        ("name = 'fraud' AND stage IN ('Production', 'Staging')", [2]),
        ("alias = 'champion'", [1, 4]),
        ("alias = 'best' AND alias = 'champion'", [4]),
        ("alias != 'champion'", [4]),
        ("NOT alias = 'champion' AND name = 'churn'", [5, 4, 3, 2]),
        ("alias IS NULL AND name = 'fraud'", [5, 3, 2, 1]),
        ("alias LIKE 'b%'", [4]),
        ("version_number >= 4 AND name ILIKE 'FRAUD'", [5, 4]),
        ("tags.odd IS NULL AND name = 'fraud'", [4, 2]),
        ("tags.half > '1' AND name = 'fraud'", [5, 4]),
        ("source LIKE 'runs:/%' AND model_name = 'fraud' AND version_number = 1", [1]),
        ("model_name = 'fraud' AND creator = 'user-2'", [5, 2]),
        ("create_time > 1700000000008 AND update_time > 0", [5, 4]),
        # MLflow's words
        ("source_path LIKE 'runs:/%' AND name = 'fraud' AND version_number = 1", [1]),
        ("user_id = 'user-0'", [3, 3]),
        ("creation_timestamp <= 1700000000001", [1]),
        ("last_updated_timestamp > 1700000000010", []),
    ],
)
def test_a_filter_finds_what_it_says(registry: Registry, filter: str, numbers: list[int]) -> None:
    assert [number for _, number in found(registry, filter)] == numbers


@pytest.mark.parametrize(
    ("filter", "order_by", "message"),
    [
        ("stage = 'Live'", [], "one of 'None', 'Staging', 'Production', 'Archived' for stage"),
        ("colour = 'red'", [], "expected one of model_name, version_number, run_id"),
        ("run_id = 3", [], "a text in quotes"),
        ("", ["alias"], "alias is not"),
        ("", ["colour"], r"order_by\[0\]"),
    ],
)
def test_what_a_version_does_not_have_is_refused(
    registry: Registry, filter: str, order_by: list[str], message: str
) -> None:
    with pytest.raises(FilterSyntax, match=message):
        found(registry, filter, *order_by)


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE models; --", "%' OR '1'='1", "\\", "_", "🦉", "a'b\"c`d", "{0.__class__}"]
)
def test_text_of_a_caller_is_only_ever_a_value(registry: Registry, text: str) -> None:
    registry.models.set_tags("default", "fraud", {text: text})

    quoted = text.replace("'", "''")
    key = text.replace("`", "``")
    node = parse(f"tags.`{key}` = '{quoted}' AND name = 'fraud'", search.SCOPES, words=MODELS)
    with registry.db.read() as tx:
        page = list(search.models_page(tx, "default", node, [], within=ALL, after=None, limit=9))

    assert [each.item.name for each in page] == ["fraud"]
