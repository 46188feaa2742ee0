"""Sort keys: `metrics.acc DESC`, `start_time`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modelry_server.kernel.filter.errors import FilterSyntax
from modelry_server.kernel.filter.syntax import Source, tokens_of
from modelry_server.kernel.filter.tree import Field
from modelry_server.kernel.filter.words import NO_WORDS, Words

MOST_KEYS = 8


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key to sort by."""

    field: Field
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.field} {'DESC' if self.descending else 'ASC'}"


def parse_order(
    terms: Sequence[str], scopes: Collection[str], *, words: Words = NO_WORDS, field_name: str = "order_by"
) -> tuple[OrderKey, ...]:
    """The keys to sort by, the first one first; at most 8, each field once. Without a direction a key ascends.

    `words` for attributes are read as the names of their fields.
    Raises FilterSyntax, which names the term as `order_by[2]`, counted from 0.
    """
    if len(terms) > MOST_KEYS:
        raise FilterSyntax(1, f"{len(terms)} sort keys", f"at most {MOST_KEYS}", field=field_name)
    keys: list[OrderKey] = []
    for index, term in enumerate(terms):
        source = Source(term, scopes, f"{field_name}[{index}]", words)
        key = _key(source)
        if any(key.field == earlier.field for earlier in keys):
            raise source.refusal(0, "a field that is in the list already", "each field once")
        keys.append(key)
    return tuple(keys)


def _key(source: Source) -> OrderKey:
    order = source.read("order")
    (named,) = order.find_data("field")
    return OrderKey(source.field(named), any(token.type == "DESC" for token in tokens_of(order)))
