"""What may be the name of a model, and what an alias."""

import pytest

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.registry.domain import names, stages


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
        names.judge_alias(fields, "alias", alias, stages.DEFAULT)


@pytest.mark.parametrize(
    ("alias", "problem"),
    [
        ("", "letters, digits"),
        ("a" * 251, "letters, digits"),
        ("3", "letters, digits"),
        ("v3", "looks like a version number"),
        ("V12", "looks like a version number"),
        ("latest", "means the newest version"),
        ("LATEST", "means the newest version"),
        ("none", "means a stage"),
        ("Staging", "means a stage"),
        ("pRoDuCtIoN", "means a stage"),
        ("archived", "means a stage"),
        ("a/b", "letters, digits"),
        ("a:b", "letters, digits"),
        ("a@b", "letters, digits"),
        ("-a", "letters, digits"),
        (".a", "letters, digits"),
        ("a b", "letters, digits"),
        ("a\n", "letters, digits"),
        ("a\0", "letters, digits"),
        ("é", "letters, digits"),
        ("champion\u200b", "letters, digits"),
    ],
)
def test_what_can_be_taken_for_something_else_is_no_alias(alias: str, problem: str) -> None:
    with pytest.raises(FieldInvalid, match=problem), Fields() as fields:
        names.judge_alias(fields, "alias", alias, stages.DEFAULT)
