"""JSON and YAML that somebody else wrote: whatever is wrong with it is one error, and reading it has limits.

The parsers raise all kinds of errors: PyYAML a KeyError for `!!bool x`, and `json` a RecursionError for ten thousand
brackets. So nothing else in the SDK calls them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from modelry._sdk.values import signals

_LONGEST_NO_TEXT = 500
"""The most characters of a YAML value that is no text. A number such as 1:59:59… takes quadratic time to read."""


class Unreadable(Exception):
    """The content can't be read. The message says why, as the end of a sentence that begins with its name."""


def json_of(content: str | bytes, *, members: Callable[[Iterable[tuple[str, Any]]], Any] | None = None) -> Any:
    """What a JSON text says. `members` makes an object of its pairs. Raises Unreadable."""
    try:
        return json.loads(content, object_pairs_hook=members)
    except Unreadable:
        raise
    except Exception as problem:
        signals.pass_on(problem)
        raise Unreadable(f"is no JSON that can be read: {_shown(problem)}") from None


def json_object_of(
    content: str | bytes, *, members: Callable[[Iterable[tuple[str, Any]]], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """What a JSON text says if it is an object. Raises Unreadable."""
    found = json_of(content, members=members)
    if not isinstance(found, dict):
        raise Unreadable("is no JSON object")
    return found


def yaml_of(content: str | bytes, *, most: int, deepest: int) -> tuple[Any, int]:
    """What a YAML text says, and the number of values in it: at most `most`, and at most `deepest` one in another.

    Raises Unreadable for more, for an alias (`*name`), and for anything that the safe loader of PyYAML can't read.
    Raises ModuleNotFoundError without PyYAML.
    """
    import yaml

    # It is counted in C, which is fast, and then read by the loader in Python: what is judged is what MLflow reads.
    try:
        count = _bounded(yaml, content, most, deepest)
        return yaml.load(content, Loader=yaml.SafeLoader), count
    except Unreadable:
        raise
    except Exception as problem:
        signals.pass_on(problem)
        raise Unreadable(f"is no YAML that can be read: {_shown(problem)}") from None


def _bounded(yaml: Any, content: str | bytes, most: int, deepest: int) -> int:
    depth = count = 0
    resolver = yaml.resolver.Resolver()
    for event in yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        count += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise Unreadable("has an alias (`*name`)")
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST_NO_TEXT:
            tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
            if tag != resolver.DEFAULT_SCALAR_TAG:
                raise Unreadable(f"has a value of more than {_LONGEST_NO_TEXT} characters that is no text")
        if count > most or depth > deepest:
            raise Unreadable(f"has more than {most} values, or more than {deepest} one in another")
    return count


def _shown(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
