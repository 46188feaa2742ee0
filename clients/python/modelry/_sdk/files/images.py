"""Pictures: arrays of any kind as what an image file can hold."""

from __future__ import annotations

import io
import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of, require_unmasked
from modelry._sdk.values.texts import said_of
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_FORMATS = {"jpg": "jpeg", "tif": "tiff"}
_CHANNELS = (1, 3, 4)
_NUMBERS = {"F", "I", "I;16", "I;16B", "I;16L", "I;16N"}
"""The modes of Pillow that hold numbers beyond 255."""
_FAINT = 8
"""A picture with less contrast than this, of 255, looks blank."""


def of_image(image: Any, path: str) -> tuple[bytes, str]:
    """A picture in the format of the path's extension, and what whoever looks at it must know, if anything.

    It takes a Pillow image, or an array or tensor of shape (height, width), or with 1, 3 or 4 channels at the end or at
    the front. Whole numbers from 0 to 255, and others from 0 to 1, are brightness; whole numbers of 0 and 1 only are
    black and white. Any other range is stretched so that its smallest number is black and its largest white. The fourth
    channel is opacity: from 0 to 1, to 255, or to its largest number, whichever holds it. JPEG has no transparency:
    what is transparent gets a white ground.

    Raises InvalidArgument for an array that is no picture, for an extension that is not an image format, and for an
    array if NumPy or Pillow isn't installed.
    """
    note = ""
    is_mask = _is_mask(image)
    if hasattr(image, "to_pil"):  # MLflow's
        image = image.to_pil()
    if not hasattr(image, "save") or getattr(image, "mode", "") in _NUMBERS:
        image, note = _picture_of(image)
    if getattr(image, "mode", "") == "RGBA" and image.getchannel("A").getextrema()[1] < _FAINT:
        note = "it is transparent everywhere, so nothing can be seen; leave out its fourth channel"
    if not note and not is_mask and _is_even(image):
        note = "nothing can be seen: all of its pixels are the same"
    ending = PurePosixPath(path).suffix.lstrip(".").lower() or "png"
    try:
        return _saved(image, _FORMATS.get(ending, ending)), note
    except (KeyError, OSError, ValueError) as problem:
        raise InvalidArgument(
            f"{path!r}: the image can't be written as {ending!r} ({said_of(problem)}); use the extension .png or .jpg"
        ) from None


def _is_mask(image: Any) -> bool:
    """Whether it holds truth values, which may all be false."""
    return getattr(image, "mode", "") == "1" or str(getattr(image, "dtype", "")).endswith("bool")


def _is_even(picture: Any) -> bool:
    """Whether a Pillow image of more than one pixel has one colour."""
    if not hasattr(picture, "getextrema") or picture.size == (1, 1):
        return False
    bands = picture.getextrema()
    return all(low == high for low, high in ([bands] if isinstance(bands[0], int | float) else bands))


def _saved(picture: Any, form: str) -> bytes:
    out = io.BytesIO()
    try:
        picture.save(out, format=form)
    except (OSError, ValueError):  # The format does not have this mode, such as transparency in JPEG.
        if not hasattr(picture, "convert"):
            raise
        out = io.BytesIO()
        _opaque(picture).save(out, format=form)
    if not out.getvalue():
        raise InvalidArgument(f"{type(picture).__name__} has written no image; give one of Pillow, or an array")
    return out.getvalue()


def _opaque(picture: Any) -> Any:
    if picture.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in picture.info:
        from PIL import Image

        if picture.mode == "La":
            picture = picture.convert("LA")
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _picture_of(image: Any) -> tuple[Any, str]:
    try:
        import numpy  # noqa: F401
        from PIL import Image
    except ImportError:
        raise InvalidArgument("logging an array as an image needs NumPy and Pillow; install them") from None
    if isinstance(image, str | bytes | os.PathLike):
        raise InvalidArgument(
            f"an image array holds numbers, not {type(image).__name__}; log a file with log_artifact, or open it with "
            "PIL.Image.open"
        )
    require_unmasked(image, "an image array")
    if hasattr(image, "savefig") or hasattr(image, "get_figure"):
        raise InvalidArgument(f"{type(image).__name__} is no image array; log it with log_figure")
    try:
        array = array_of(image)
    except Exception as problem:
        signals.pass_on(problem)
        raise InvalidArgument(f"{type(image).__name__} can't be read as an image array: {said_of(problem)}") from None
    array = _upright(array)
    if array.ndim == 2 or array.shape[2] != 4:
        pixels, note = _brightness(array)
        return Image.fromarray(pixels), note
    colours, note = _brightness(array[:, :, :3])
    picture = Image.fromarray(colours)
    picture.putalpha(Image.fromarray(_opacity(array[:, :, 3])))
    return picture, note


def _opacity(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    import numpy as np

    shares = np.nan_to_num(array.astype(np.float64), posinf=1)
    highest = float(shares.max())
    full = 1.0 if highest <= 1 else max(highest, 255.0)
    return ((shares / full).clip(0, 1) * 255).round().astype(np.uint8)


def _upright(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array with the shape (height, width), or (height, width, 3 or 4)."""
    shape = array.shape
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]  # a batch of one
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = array.transpose(1, 2, 0)  # the channels come first, as in PyTorch
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or not array.size:
        raise InvalidArgument(
            "an image array has the shape (height, width), or 1, 3 or 4 channels as its last or first dimension, not "
            f"{shape}{_advice(shape)}"
        )
    return array


def _advice(shape: tuple[int, ...]) -> str:
    if len(shape) > 3 and all(shape):
        return f"; log each of its {shape[0]} images by itself, such as with a key"
    if len(shape) == 3 and 2 in (shape[0], shape[2]):
        return "; of two channels, log each by itself"
    return ""


def _brightness(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str]:
    """The pixels from 0 to 255, and a note if they are not what the array holds."""
    import numpy as np

    if array.dtype.kind == "O":
        array = _numbers(array)
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"an image array holds numbers, not {array.dtype}; of complex numbers, log the real part or the magnitude"
        )
    if array.dtype.kind == "f":
        return _of_fractions(array)
    low, high = int(array.min()), int(array.max())
    if array.dtype.kind == "b" or (low >= 0 and high <= 1):
        return array.astype(np.uint8) * np.uint8(255), ""
    if low < 0 or high > 255:
        return _stretched(array.astype(np.float64), low, high, "whole numbers from 0 to 255")
    pixels = np.ascontiguousarray(array, np.uint8)
    return pixels, _faint(low, high, high - low, "255")


def _of_fractions(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str]:
    import numpy as np

    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return np.zeros(array.shape, np.uint8), "it has no finite number, so it is black"
    low, high = float(finite.min()), float(finite.max())
    if low < 0 or high > 1:
        pixels, note = _stretched(numbers, low, high, "numbers from 0 to 1")
    else:
        pixels = (np.nan_to_num(numbers.clip(0, 1)) * 255).round().astype(np.uint8)
        note = _faint(low, high, (high - low) * 255, "1")
    if finite.size < numbers.size:
        missing = f"{numbers.size - finite.size} of its numbers are NaN or infinite: NaN is black"
        note = f"{note}; {missing}" if note else missing
    return pixels, note


def _stretched(
    numbers: npt.NDArray[np.float64], low: float, high: float, usual: str
) -> tuple[npt.NDArray[np.uint8], str]:
    import numpy as np

    if low == high:
        return np.zeros(
            numbers.shape, np.uint8
        ), f"all of its numbers are {low:g}, so it is black; {usual} are brightness"
    scale = max(abs(low), abs(high), 1.0)  # so that a difference can't overflow
    span = high / scale - low / scale
    shares = (numbers / scale - low / scale) / span
    pixels = (np.nan_to_num(shares.clip(0, 1)) * 255).round().astype(np.uint8)
    return pixels, f"its numbers from {low:g} to {high:g} are shown as black to white; {usual} are shown as they are"


def _faint(low: float, high: float, contrast: float, most: str) -> str:
    if not 0 < contrast < _FAINT:
        return ""
    return f"little can be seen: its numbers are from {low:g} to {high:g}, of 0 to {most}; scale them before"


def _numbers(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        return array.astype("float64")
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"an image array holds numbers: {said_of(problem)}") from None
