"""Values as training scripts hold them become what JSON and YAML have."""

from __future__ import annotations

import argparse
import collections
import enum
import json
import pathlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml

from modelry._sdk.files import attachments
from modelry._sdk.values.plain import members_of, plain
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str, enum.Enum):  # noqa: UP042
    RED = "red"


@dataclass
class Config:
    lr: float = 0.1
    inner: Any = None


class Pair(NamedTuple):
    a: int
    b: int


class Pydantic:
    """Has what a model of Pydantic has."""

    def model_dump(self) -> dict[str, Any]:
        return {"lr": 0.1}


class Tensor:
    """Has what a tensor of PyTorch in bfloat16, with a gradient, on a device, has."""

    shape, dtype = (2,), "bfloat16"
    ready = False

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        if self.ready:
            return np.array([0.5, 1.5], np.float32)
        raise TypeError("Got unsupported ScalarType BFloat16")

    def float(self) -> Tensor:
        converted = Tensor()
        converted.ready = True
        return converted


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (True, True),
        (np.bool_(True), True),
        (np.int64(5), 5),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.str_("a"), "a"),
        (np.arange(3), [0, 1, 2]),
        (np.array(3.0), 3.0),
        (np.array([[True], [False]]), [[True], [False]]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([1, "a", None], object), [1, "a", None]),
        (np.asfortranarray(np.arange(4).reshape(2, 2)), [[0, 1], [2, 3]]),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.array([1 + 2j]), ["(1+2j)"]),
        (Tensor(), [0.5, 1.5]),
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (collections.deque([1]), [1]),
        (range(2), [0, 1]),
        ({"a": 1}.keys(), ["a"]),
        (Colour.RED, "Colour.RED"),
        (Level.HIGH, 3),
        (Word.RED, "red"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (Decimal("0.1"), 0.1),
        (Decimal("10"), 10),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (Decimal("NaN"), "NaN"),
        (Fraction(1, 3), "1/3"),
        (1 + 2j, "(1+2j)"),
        (b"a", "b'a'"),
        ("\udc80", "\\udc80"),
        (Config(inner=Config()), {"lr": 0.1, "inner": {"lr": 0.1, "inner": None}}),
        (argparse.Namespace(a=1), {"a": 1}),
        (SimpleNamespace(a=1), {"a": 1}),
        (Pydantic(), {"lr": 0.1}),
        (Pair(1, 2), [1, 2]),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (pd.Series([1, 2], index=["x", "y"]), {"x": 1, "y": 2}),
        (pd.DataFrame({"a": [1]}), {"a": {"0": 1}}),
        ({1: 1, Colour.RED: 2, ("a", 1): 3}, {"1": 1, "Colour.RED": 2, "('a', 1)": 3}),
        ({np.int64(7): 4, None: 5, Word.RED: 6}, {"7": 4, "None": 5, "red": 6}),
    ],
)
def test_a_value_is_the_same_in_json_and_yaml(given: Any, expected: Any) -> None:
    as_json = json.loads(attachments.of_dict({"value": given}, "a.json"))
    as_yaml = yaml.safe_load(attachments.of_dict({"value": given}, "a.yaml"))

    assert as_json == as_yaml == {"value": expected}
    assert type(as_json["value"]) is type(expected)


def test_two_keys_that_are_one_text_and_what_holds_itself_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(InvalidArgument, match="two keys of a dictionary are '1' as text"):
        plain({1: "a", "1": "b"})
    with pytest.raises(InvalidArgument, match="holds itself"):
        plain(endless)


def test_a_named_tuple_has_members_and_an_object_is_refused_with_advice() -> None:
    assert members_of("params", Pair(1, 2)) == [("a", 1), ("b", 2)]
    assert members_of("params", None) == []
    with pytest.raises(InvalidArgument, match=r"params must be a mapping .* vars\(object\)"):
        members_of("params", object())


def test_an_array_without_dimensions_is_its_number_as_text() -> None:
    class Scalar:
        shape = ()

        def item(self) -> float:
            return 0.5

        def __str__(self) -> str:
            return "tensor(0.5000)"

    assert [text_of(given) for given in (Scalar(), np.array(5), np.float32(0.1))] == ["0.5", "5", "0.1"]
