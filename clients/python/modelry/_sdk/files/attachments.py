"""Dictionaries, figures and images as the bytes of a file, in the format that its file name extension says."""

from __future__ import annotations

import io
import json
from pathlib import PurePosixPath
from typing import Any

from modelry.errors import InvalidArgument


def of_dict(content: object, path: str) -> bytes:
    """JSON, or YAML if the extension is `.yaml` or `.yml`. Values that JSON doesn't have are written as text.

    Raises InvalidArgument for YAML if PyYAML isn't installed.
    """
    if PurePosixPath(path).suffix in {".yaml", ".yml"}:
        try:
            import yaml
        except ImportError:
            problem = f"writing {path!r} as YAML needs PyYAML; install it, or use the extension .json"
            raise InvalidArgument(problem) from None
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)).encode()
    return json.dumps(content, indent=2, default=str, ensure_ascii=False).encode(errors="replace")


def of_figure(figure: Any, path: str, **options: Any) -> bytes:
    """A Matplotlib or Plotly figure in the format of the extension; `options` go to the library's save function."""
    ending = PurePosixPath(path).suffix.lstrip(".").lower()
    if hasattr(figure, "savefig"):
        picture = io.BytesIO()
        figure.savefig(picture, format=ending or "png", **options)
        return picture.getvalue()
    if hasattr(figure, "to_html"):
        if ending in {"html", "htm", ""}:
            return str(figure.to_html(include_plotlyjs="cdn", **options)).encode()
        return bytes(figure.to_image(format=ending, **options))
    raise InvalidArgument(f"figure must be a Matplotlib or Plotly figure, not {type(figure).__name__}")


def of_image(image: Any, path: str) -> bytes:
    """A Pillow image, or an array of shape (height, width) or (height, width, 1, 3 or 4), in the extension's format.

    Integers are from 0 to 255, floating-point numbers from 0 to 1. JPEG has no transparency: it is dropped. Raises
    InvalidArgument for an array of another shape, for an extension that is not an image format, and for an array if
    Pillow isn't installed.
    """
    picture = image if hasattr(image, "save") else _picture_of(image)
    ending = PurePosixPath(path).suffix.lstrip(".").lower() or "png"
    form = {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
    if form == "jpeg" and getattr(picture, "mode", "RGB") not in {"1", "L", "RGB", "CMYK", "YCbCr"}:
        picture = picture.convert("RGB")
    out = io.BytesIO()
    try:
        picture.save(out, format=form)
    except (KeyError, OSError, ValueError) as problem:
        raise InvalidArgument(
            f"{path!r}: the image can't be written as {ending!r} ({problem}); use the extension .png or .jpg"
        ) from None
    return out.getvalue()


def _picture_of(image: Any) -> Any:
    try:
        import numpy as np
        from PIL import Image
    except ImportError:
        raise InvalidArgument("logging an array as an image needs NumPy and Pillow; install them") from None
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InvalidArgument(
            f"an image array has the shape (height, width) or (height, width, 1, 3 or 4), not {pixels.shape}"
        )
    if pixels.dtype == bool:
        pixels = pixels.astype("uint8") * 255
    elif np.issubdtype(pixels.dtype, np.floating):
        pixels = (np.clip(np.nan_to_num(pixels), 0.0, 1.0) * 255).round().astype("uint8")
    else:
        pixels = np.clip(pixels, 0, 255).astype("uint8")
    return Image.fromarray(pixels)
