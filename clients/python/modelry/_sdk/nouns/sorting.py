"""Tells of keys that nothing has: by MLflow's tag of a field nothing is found, by a mistyped key nothing is sorted."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from modelry.errors import ModelryError

log = logging.getLogger("modelry")

_TERM = re.compile(r"\s*[`\"]?(?P<scope>metric|param|tag)\w*[`\"]?\.(?P<key>.+?)(?:\s+(?:asc|desc))?\s*", re.I | re.S)


_FIELD_OF_TAG = {"mlflow.parentrunid": "parent_run_id", "mlflow.runname": "name"}
_MLFLOW_TAG = re.compile(r"\btags?\.[`\"]?(?P<tag>mlflow\.(?:parentRunId|runName))\b", re.I)


def tell_fields_of_mlflow(filter: str, found: Sequence[Any]) -> None:
    """Warns, if nothing was found, of MLflow's tags in a filter that are fields of runs here."""
    if found:
        return
    for tag in dict.fromkeys(read["tag"] for read in _MLFLOW_TAG.finditer(filter)):
        log.warning(
            "filter: nothing was found; tags.%s of MLflow is the field %s here, so write %s = '…'",
            *(tag, _FIELD_OF_TAG[tag.lower()], _FIELD_OF_TAG[tag.lower()]),
        )


def tell_unsorted(request: Any, found: Sequence[Any], search: Callable[[Any], Sequence[Any]]) -> None:
    """Warns of each sort key of metrics, params or tags that nothing of a search has.

    `found` are the first results of the request. Where none of them has a key, `search` answers another request, for
    one result that has it. If nothing was found, there is nothing to tell.
    """
    for term in request.order_by if found else ():
        if not (read := _TERM.fullmatch(term)):
            continue
        scope, key = f"{read['scope'].lower()}s", _unquoted(read["key"])
        present = {key for each in found for key in _keys(getattr(each, scope))}
        if key in present or _is_found(request, f"{scope}.`{key.replace('`', '``')}`", search):
            continue
        near = difflib.get_close_matches(key, present, n=1)
        log.warning(
            "order_by: nothing that was found has a value of %s.%s, so %r sorts nothing; %s",
            *(scope, key, term, f"is {scope}.{near[0]} meant?" if near else "check the key"),
        )


def _is_found(request: Any, field: str, search: Callable[[Any], Sequence[Any]]) -> bool:
    probe = type(request)()
    probe.CopyFrom(request)
    probe.filter = f"({request.filter}) AND {field} IS NOT NULL" if request.filter.strip() else f"{field} IS NOT NULL"
    probe.page_size = 1
    probe.order_by[:] = []
    try:
        return bool(search(probe))
    except ModelryError:
        return True  # The search itself was answered; this is only advice.


def _keys(texts: Any) -> Sequence[str]:
    return [each if isinstance(each, str) else each.key for each in texts]


def _unquoted(key: str) -> str:
    quote = key[0]
    return key[1:-1].replace(quote * 2, quote) if len(key) > 1 and quote in "`\"'" and key[-1] == quote else key
