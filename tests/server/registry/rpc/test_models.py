"""What a field mask changes."""

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.registry.rpc.models import changes

FIELDS = ("name", "description")


@pytest.mark.parametrize(
    ("given", "paths", "changed"),
    [
        (api.Model(), [], {}),
        (api.Model(name="scam"), [], {"name": "scam"}),
        (api.Model(name="scam", description="x"), ["description"], {"description": "x"}),
        (api.Model(name="scam"), ["description"], {"description": ""}),
        (api.Model(), ["name", "description"], {"name": "", "description": ""}),
    ],
)
def test_a_mask_names_what_changes_and_without_one_it_is_what_is_set(
    given: api.Model, paths: list[str], changed: dict[str, str]
) -> None:
    assert changes(given, paths, FIELDS) == changed


@pytest.mark.parametrize("path", ["tags", "etag", "*", ""])
def test_a_mask_that_names_something_else_is_refused(path: str) -> None:
    with pytest.raises(FieldInvalid, match="allowed: description, name"):
        changes(api.Model(), ["name", path], FIELDS)
