"""Texts, dictionaries, figures and pictures -> the bytes of a file, by the ending of its path."""

from __future__ import annotations

import io
import json
from pathlib import PurePosixPath
from typing import Any

from modelry.errors import InvalidArgument


def of_dict(content: object, path: str) -> bytes:
    """JSON, or YAML where the path ends so and PyYAML is installed. What JSON can't hold becomes text."""
    if PurePosixPath(path).suffix in {".yaml", ".yml"}:
        try:
            import yaml
        except ImportError:
            problem = f"{path!r} asks for YAML, which needs PyYAML; install it or name the file .json"
            raise InvalidArgument(problem) from None
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)).encode()
    return json.dumps(content, indent=2, default=str, ensure_ascii=False).encode(errors="replace")


def of_figure(figure: Any, path: str, **options: Any) -> bytes:
    """A figure of Matplotlib or Plotly in the format of the path's ending; `options` go to its own save function."""
    ending = PurePosixPath(path).suffix.lstrip(".").lower()
    if hasattr(figure, "savefig"):
        picture = io.BytesIO()
        figure.savefig(picture, format=ending or "png", **options)
        return picture.getvalue()
    if hasattr(figure, "to_html"):
        if ending in {"html", "htm", ""}:
            return str(figure.to_html(include_plotlyjs="cdn", **options)).encode()
        return bytes(figure.to_image(format=ending, **options))
    raise InvalidArgument(f"a figure is one of Matplotlib or Plotly, not {type(figure).__name__}")


def of_image(image: Any, path: str) -> bytes:
    """A picture of PIL, or an array of height x width (x 1, 3 or 4), as numbers from 0 to 255 or fractions from 0 to 1.

    JPEG knows no transparency, which is left out there. Raises InvalidArgument for an array of another form, for an
    ending that is no format of a picture, and where an array is given and Pillow isn't installed.
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
            f"{path!r}: no picture of this kind can be written as {ending!r} ({problem}); name it .png or .jpg"
        ) from None
    return out.getvalue()


def _picture_of(image: Any) -> Any:
    try:
        import numpy as np
        from PIL import Image
    except ImportError:
        raise InvalidArgument("to log an array as an image needs NumPy and Pillow") from None
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InvalidArgument(f"an image is height x width (x 1, 3 or 4), not an array of shape {pixels.shape}")
    if pixels.dtype == bool:
        pixels = pixels.astype("uint8") * 255
    elif np.issubdtype(pixels.dtype, np.floating):
        pixels = (np.clip(np.nan_to_num(pixels), 0.0, 1.0) * 255).round().astype("uint8")
    else:
        pixels = np.clip(pixels, 0, 255).astype("uint8")
    return Image.fromarray(pixels)
