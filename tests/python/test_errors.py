from __future__ import annotations

import pickle

import pytest

from modelry import errors
from modelry._sdk.transport import status
from modelry.api.common import v1 as common
from modelry.errors import ModelryError

REASONS = [name.removeprefix("ERROR_REASON_") for name in common.ErrorReason.keys()[1:]]


def all_kinds(kind: type[ModelryError] = ModelryError) -> list[type[ModelryError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in all_kinds(child))]


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_of_the_contract_has_a_class(reason: str) -> None:
    kinds = [kind for kind in all_kinds() if kind.reason == reason]

    assert len(kinds) == 1
    assert kinds[0].__name__ == "".join(word.capitalize() for word in reason.split("_"))
    assert kinds[0].__name__ in errors.__all__


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = errors.__doc__ or ""

    assert [kind.__name__ for kind in all_kinds() if kind.__name__ not in drawn] == []


def test_an_unknown_reason_is_raised_as_its_code() -> None:
    error = status._error("NOT_FOUND", "no such moon", reason="MOON_NOT_FOUND", metadata={"moon": "x"})

    assert type(error) is errors.NotFound
    assert (error.reason, error.metadata, str(error)) == ("MOON_NOT_FOUND", {"moon": "x"}, "no such moon")


def test_a_reason_that_came_with_another_code_is_raised_as_the_code() -> None:
    error = status._error("UNAVAILABLE", "gone", reason="RUN_NOT_FOUND")

    assert type(error) is errors.Unavailable


def test_an_error_can_be_pickled_with_all_that_it_knows() -> None:
    error = errors.ParamConflict("lr is taken", metadata={"key": "lr"}, fields={"params": "taken"})

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is errors.ParamConflict
    assert (str(copy), copy.reason, copy.metadata, copy.fields) == (
        "lr is taken",
        "PARAM_CONFLICT",
        {"key": "lr"},
        {"params": "taken"},
    )
