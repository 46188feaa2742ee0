"""Arrays and tensors of other libraries as NumPy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy.typing as npt


def array_of(given: Any) -> npt.NDArray[Any]:
    """A NumPy array, without a copy where there is one already.

    It takes nested lists, arrays of any library, tensors on any device and with gradients, and numbers of 16 bits
    and fewer that NumPy does not have. Masked elements are 0. Raises what NumPy raises for anything else. Needs NumPy.
    """
    import numpy as np

    if hasattr(given, "detach"):  # PyTorch
        given = given.detach().cpu()
        try:
            return np.asarray(given.numpy())
        except TypeError:  # bfloat16
            return np.asarray(given.float().numpy())
    if hasattr(given, "__cuda_array_interface__") and hasattr(given, "get"):  # CuPy
        given = given.get()
    if isinstance(given, np.ma.MaskedArray):
        given = given.filled(0)
    if hasattr(given, "toarray"):  # SciPy's sparse matrices
        given = given.toarray()
    array = np.asarray(given)
    if array.dtype.kind == "V" and array.dtype.names is None:  # numbers of 16 bits or fewer, of JAX and TensorFlow
        if "float" in array.dtype.name:
            return array.astype(np.float32)
        if "int" in array.dtype.name:
            return array.astype(np.int16)
    return array


def require_unmasked(given: Any, what: str) -> None:
    """Raises InvalidArgument for a masked array of NumPy with masked elements, which would become 0."""
    masked = int(given.mask.sum()) if hasattr(given, "filled") and hasattr(given, "mask") else 0
    if masked:
        raise InvalidArgument(
            f"{what} has a value everywhere, and {masked} of {given.size} are masked; say what they are: "
            "array.filled(0), or array.data for what is below the mask"
        )


def is_array(given: object) -> bool:
    """Whether it is an array or tensor of one of the libraries."""
    return hasattr(given, "shape") and hasattr(given, "dtype")
