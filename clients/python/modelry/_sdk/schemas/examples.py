"""Input examples: they must fit the signature that a model is saved with."""

from __future__ import annotations

from typing import Any

from modelry._sdk.schemas import enforcing
from modelry._sdk.values.texts import shown
from modelry.errors import InvalidArgument


def split(example: Any) -> tuple[Any, Any]:
    """An example as data and params, which MLflow takes as a pair."""
    if isinstance(example, tuple) and len(example) == 2 and isinstance(example[1], dict):
        return example
    return example, None


def stored(example: Any) -> Any:
    """An example as MLflow stores it: of a column of pandas, which has a signature, the frame of that column."""
    data, params = split(example)
    if type(data).__name__ != "Series" or not hasattr(data, "to_frame"):
        return example
    return data.to_frame() if params is None else (data.to_frame(), params)


def require_signature(signature: Any) -> None:
    """Raises InvalidArgument for what is no signature. None is none, and so is False, which also infers none."""
    is_one = all(hasattr(signature, each) for each in ("inputs", "outputs", "to_dict"))
    if signature is None or signature is False or (is_one and not isinstance(signature, type)):
        return
    wanted = "a ModelSignature, as modelry.models.infer_signature(inputs, outputs) makes"
    raise InvalidArgument(
        f"signature must be {wanted}, not {shown(signature)[:80]} of type {type(signature).__name__}",
        reason="FIELD_INVALID",
        fields={"signature": f"must be {wanted}"},
    )


def require_fit(example: Any, signature: Any) -> None:
    """Raises InvalidArgument that names the column, if both are given and the example does not fit the signature."""
    if example is None or getattr(signature, "inputs", None) is None:
        return
    data, params = split(example)
    try:
        enforcing.fitted(data, signature.inputs)
        if params:
            enforcing.fitted_params(params, signature.params)
    except InvalidArgument as refused:
        problem = refused.metadata.get("problem", refused.message)
        raise InvalidArgument(
            f"the input example does not fit the signature: {problem}; nothing was saved",
            reason="EXAMPLE_REFUSED",
            metadata={"problem": problem},
        ) from refused
