"""Functions that the two databases call by different names."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class octets(FunctionElement[int]):
    """The length of a text in bytes of UTF-8."""

    inherit_cache = True
    type = sa.BigInteger()


@compiles(octets, "postgresql")
def _octet_length(element: octets, compiler: Any, **given: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **given)})"


@compiles(octets, "sqlite")
def _length_of_blob(element: octets, compiler: Any, **given: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **given)} AS BLOB))"
