"""What may be the name of a model, and what an alias."""

import pytest

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.registry.domain import names


@pytest.mark.parametrize(
    "name", ["x", "ü" * 250, "3", "latest", "Production", "Betrug & Co. #1", "不正検知", ".hidden"]
)
def test_a_model_may_have_a_name_of_any_script(name: str) -> None:
    with Fields() as fields:
        names.judge_model(fields, "name", name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is required: 1 to 250 characters"),
        ("x" * 251, "has 251 characters"),
        ("x" * 10_000, "has 10000 characters"),
        ("a/b", "'/'"),
        ("a:b", "':'"),
        ("a@b", "'@'"),
        (" a", "white space"),
        ("a\u00a0", "white space"),
        ("a\n", "control character"),
        ("a\0b", "control character"),
        ("safe\u202eexe", r"U\+202E"),
        ("zero\u200bwidth", r"U\+200B"),
        ("next\x85line", r"U\+0085"),
    ],
)
def test_a_name_that_cannot_stand_in_an_address_or_misleads_is_refused(name: str, problem: str) -> None:
    with pytest.raises(FieldInvalid, match=problem), Fields() as fields:
        names.judge_model(fields, "name", name)


@pytest.mark.parametrize("alias", ["c", "a" * 250, "champion-2026.11_v2", "v", "V2x", "nonesuch", "Latest-1"])
def test_what_the_rule_allows_is_an_alias(alias: str) -> None:
    with Fields() as fields:
        names.judge_alias(fields, "alias", alias)


@pytest.mark.parametrize(
    ("alias", "problem"),
    [
        ("", "is not an alias"),
        ("a" * 251, "is not an alias"),
        ("3", "is not an alias"),
        ("v3", "looks like a version number"),
        ("V12", "looks like a version number"),
        ("latest", "means something else"),
        ("LATEST", "means something else"),
        ("none", "means something else"),
        ("Staging", "means something else"),
        ("pRoDuCtIoN", "means something else"),
        ("archived", "means something else"),
        ("a/b", "is not an alias"),
        ("a:b", "is not an alias"),
        ("a@b", "is not an alias"),
        ("-a", "is not an alias"),
        (".a", "is not an alias"),
        ("a b", "is not an alias"),
        ("a\n", "is not an alias"),
        ("a\0", "is not an alias"),
        ("é", "is not an alias"),
        ("champion\u200b", "is not an alias"),
    ],
)
def test_what_can_be_taken_for_something_else_is_no_alias(alias: str, problem: str) -> None:
    with pytest.raises(FieldInvalid, match=problem), Fields() as fields:
        names.judge_alias(fields, "alias", alias)
