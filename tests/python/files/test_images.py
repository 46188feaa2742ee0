"""A picture shows what an array holds, or it is told."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelry._sdk.files.images import of_image
from modelry._sdk.files.keyed import path_of
from modelry._sdk.files.paths import checked
from modelry.errors import InvalidArgument

RAMP = np.linspace(0, 255, 64).reshape(8, 8)


def shown(array: Any, path: str = "a.png") -> tuple[Any, str]:
    content, note = of_image(array, path)
    return np.asarray(Image.open(io.BytesIO(content))), note


@pytest.mark.parametrize(
    "array",
    [
        RAMP.astype("uint8"),
        RAMP.astype("int64"),
        RAMP.astype("uint16"),
        RAMP / 255,
        (RAMP / 255).astype("float32"),
        (RAMP / 255).astype("float16"),
        np.asfortranarray(RAMP / 255),
        (RAMP / 255)[:, ::-1][:, ::-1],
        (RAMP / 255).tolist(),
        (RAMP / 255).astype(object),
        (RAMP / 255)[:, :, None],
        (RAMP / 255)[None],
        (RAMP / 255)[None, :, :, None],
        (RAMP / 255)[None, None],
        np.ma.masked_array(RAMP / 255, mask=False),
    ],
)
def test_numbers_in_their_usual_range_are_shown_as_they_are(array: Any) -> None:
    pixels, note = shown(array)

    assert np.abs(pixels.astype(int) - RAMP.astype(int)).max() <= 1
    assert note == ""


@pytest.mark.parametrize(
    "array",
    [
        RAMP,
        (RAMP * 257).astype("uint16"),
        (RAMP * 1e6).astype("int32"),
        (RAMP * 1e6).astype("int64") - 10**12,
        RAMP / 127.5 - 1,
        RAMP * 1e300,
        (RAMP / 127.5 - 1) * 1.7e308,
        (RAMP - 128).astype("int8"),
        RAMP.astype("uint64") * np.uint64(2**50),
    ],
)
def test_any_other_range_is_stretched_and_told(array: Any) -> None:
    pixels, note = shown(array)

    assert (pixels.min(), pixels.max()) == (0, 255)
    assert len(np.unique(pixels)) >= 0.9 * len(np.unique(array))
    assert "shown as black to white" in note


@pytest.mark.parametrize("kind", ["bool", "int64", "uint8", "int32"])
def test_a_mask_is_black_and_white(kind: str) -> None:
    pixels, note = shown((RAMP > 128).astype(kind))

    assert np.array_equal(pixels, (RAMP > 128) * 255)
    assert note == ""


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8)),
        np.ones((8, 8)),
        np.full((8, 8), 0.5),
        np.full((8, 8), 7, np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        Image.new("RGB", (8, 8)),
    ],
    ids=["zeros", "ones", "grey", "uint8", "black", "pillow"],
)
def test_a_picture_of_one_colour_is_told_because_nothing_can_be_seen(image: Any) -> None:
    assert of_image(image, "a.png")[1] == "nothing can be seen: all of its pixels are the same"


@pytest.mark.parametrize("image", [np.zeros((8, 8), bool), np.zeros((1, 1)), np.eye(8), Image.new("1", (8, 8))])
def test_an_empty_mask_is_what_it_is(image: Any) -> None:
    assert of_image(image, "a.png")[1] == ""


def test_classes_and_faint_fractions_are_told_because_nothing_can_be_seen() -> None:
    classes, told = shown(np.arange(6).reshape(2, 3))
    _, of_fractions = shown(np.array([[0.0, 1e-4]]))

    assert classes.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert "little can be seen" in told
    assert "little can be seen" in of_fractions


def test_what_is_no_number_is_black_or_white_and_told() -> None:
    pixels, note = shown(np.array([[0.0, 1.0, np.nan, np.inf, -np.inf]]))
    nothing, told = shown(np.full((2, 2), np.nan))

    assert pixels.tolist() == [[0, 255, 0, 255, 0]]
    assert "3 of its numbers are NaN or infinite" in note
    assert (nothing.max(), told) == (0, "it has no finite number, so it is black")


def test_channels_may_come_first_and_may_have_transparency() -> None:
    colours = np.random.default_rng(1).random((3, 5, 7))

    assert np.array_equal(shown(colours)[0], shown(colours.transpose(1, 2, 0))[0])
    assert shown(np.zeros((4, 5, 7)))[0].shape == (5, 7, 4)
    assert shown(np.zeros((1, 3, 5, 7)))[0].shape == (5, 7, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tiff"])
def test_a_picture_of_pillow_of_any_mode_becomes_any_format(mode: str, ending: str) -> None:
    pixels, _ = shown(Image.new(mode, (4, 2)), f"a.{ending}")

    assert pixels.shape[:2] == (2, 4)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), complex),
        np.array([["a"]]),
        np.zeros((2, 2), "datetime64[s]"),
        np.zeros((0, 3)),
        np.zeros(5),
        np.array(5),
        np.zeros((2, 5, 5, 3)),
        np.zeros((5, 5, 2)),
        [[1], [2, 3]],
        "text",
        None,
        object(),
    ],
)
def test_what_is_no_picture_is_refused(array: Any) -> None:
    with pytest.raises(InvalidArgument, match="image array"):
        of_image(array, "a.png")


@pytest.mark.parametrize(
    "key", ["a", "a/b", "%2e", "..", "", "\udc80", "é" * 300, "\u202e", "a\0b", 7, None, "a\\b:*?"]
)
@pytest.mark.parametrize("step", [None, 0, 10, 1.5, "x/y", np.int64(3)])
def test_any_key_and_step_make_paths_that_are_good_and_differ(key: Any, step: Any) -> None:
    one, other = path_of("images", key, step, "png"), path_of("images", key, step, "png")

    assert checked(one) != checked(other)
    assert max(len(part.encode()) for part in one.split("/")) <= 255


def test_the_fourth_channel_is_opacity_by_itself() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (4, 5, 3)).astype(float)
    full = [np.ones((4, 5, 1)), np.full((4, 5, 1), 255.0), np.full((4, 5, 1), 65535.0)]

    pictures = [shown(np.concatenate([colours, each], axis=2))[0] for each in full]
    whole, _ = shown(np.concatenate([colours, full[0]], axis=2).astype("uint8"))

    assert [picture[:, :, 3].min() for picture in [*pictures, whole]] == [255] * 4
    assert np.array_equal(whole[:, :, :3], colours.astype("uint8"))
    assert "transparent everywhere" in shown(np.concatenate([colours, full[0] * 0], axis=2).astype("uint8"))[1]
    assert "transparent everywhere" in of_image(Image.new("RGBA", (2, 2)), "a.png")[1]


def test_what_is_transparent_gets_a_white_ground_where_there_is_no_transparency() -> None:
    written = Image.new("RGBA", (8, 8))
    written.paste((0, 0, 0, 255), (0, 0, 8, 4))

    pixels, _ = shown(written, "a.jpg")

    assert pixels[0].max() < 10
    assert pixels[-1].min() > 245


def test_a_picture_of_one_colour_says_what_it_is() -> None:
    pixels, note = shown(np.full((2, 2), 200.0))

    assert pixels.max() == 0
    assert "all of its numbers are 200, so it is black" in note


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("a.png", "log a file with log_artifact"),
        (b"\x89PNG", "PIL.Image.open"),
        (np.zeros((2, 5, 5, 3)), "each of its 2 images"),
        (np.zeros((2, 5, 5)), "two channels"),
    ],
)
def test_what_is_no_picture_says_what_would_be_right(given: Any, advice: str) -> None:
    with pytest.raises(InvalidArgument, match=advice):
        of_image(given, "a.png")
