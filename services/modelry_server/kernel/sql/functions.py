"""Functions that the two databases call by different names."""

from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class octets(FunctionElement[int]):
    """The length of a text in bytes of UTF-8."""

    inherit_cache = True
    type = sa.BigInteger()


class object_of(FunctionElement[Any]):
    """A JSON object of the keys and texts of a group of rows, for `read_object`.

    On SQLite Python's interpreter lock changes hands for each row, which costs more than the row while others work.
    """

    inherit_cache = True
    type = sa.JSON()


@compiles(object_of, "postgresql")
def _json_object_agg(element: object_of, compiler: Any, **given: Any) -> str:
    return f"json_object_agg({compiler.process(element.clauses, **given)})"


@compiles(object_of, "sqlite")
def _json_group_object(element: object_of, compiler: Any, **given: Any) -> str:
    return f"json_group_object({compiler.process(element.clauses, **given)})"


def read_object(answer: str | dict[str, str]) -> dict[str, str]:
    """What `object_of` answered: the driver of PostgreSQL has read it, that of SQLite gives the text."""
    return orjson.loads(answer) if isinstance(answer, str) else answer


@compiles(octets, "postgresql")
def _octet_length(element: octets, compiler: Any, **given: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **given)})"


@compiles(octets, "sqlite")
def _length_of_blob(element: octets, compiler: Any, **given: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **given)} AS BLOB))"
