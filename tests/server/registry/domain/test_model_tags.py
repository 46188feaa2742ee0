"""What holds for the tags of registered models."""

import pytest

from modelry_server.kernel.errors import FieldInvalid, LimitReached
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.registry.errors import TagNotFound
from tests.server.registry.conftest import Registry

REQUEST = Request("ada", "modelry.api.registry.v1.CreateModelRequest", "request-1", "digest-1")


def test_tags_are_set_replaced_and_removed(registry: Registry) -> None:
    registry.a_model("fraud", tags={"a": "1", "b": "2"})

    assert registry.models.set_tags("default", "fraud", {"b": "3", "c": "4"}).tags == {"a": "1", "b": "3", "c": "4"}
    assert registry.models.delete_tags("default", "fraud", ["a", "c"]).tags == {"b": "3"}


def test_one_missing_tag_removes_none(registry: Registry) -> None:
    registry.a_model("fraud", tags={"a": "1"})

    with pytest.raises(TagNotFound, match="no tag 'b'") as refusal:
        registry.models.delete_tags("default", "fraud", ["a", "b"])

    assert refusal.value.metadata["key"] == "b"
    assert registry.get("fraud").tags == {"a": "1"}


@pytest.mark.parametrize("tags", [{}, {"k": "x" * 8001}, {str(n): "" for n in range(1001)}])
def test_tags_beyond_a_limit_are_refused(registry: Registry, tags: dict[str, str]) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid):
        registry.models.set_tags("default", "fraud", tags)


@pytest.mark.parametrize("keys", [[], ["x" * 251], [str(n) for n in range(1001)]])
def test_keys_beyond_a_limit_are_refused(registry: Registry, keys: list[str]) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid):
        registry.models.delete_tags("default", "fraud", keys)


@pytest.mark.parametrize(
    ("present", "more"),
    [
        ({f"a{n}": "" for n in range(500)}, {f"b{n}": "" for n in range(501)}),
        ({f"a{n}": "x" * 8000 for n in range(16)}, {f"b{n}": "x" * 8000 for n in range(17)}),
        ({f"a{n}": "x" * 8000 for n in range(16)}, {f"b{n}": "\1" * 8000 for n in range(3)}),
    ],
)
def test_all_tags_together_have_a_limit(registry: Registry, present: dict[str, str], more: dict[str, str]) -> None:
    registry.a_model("fraud", tags=present)

    with pytest.raises(LimitReached) as refusal:
        registry.models.set_tags("default", "fraud", more)

    assert refusal.value.metadata["field"] == "tags"
    assert registry.get("fraud").tags == present
