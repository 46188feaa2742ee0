"""Sound is what an array holds, or it is told."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelry._sdk.files.audio import ending_of, of_audio
from modelry.errors import InvalidArgument

TONE = np.sin(np.linspace(0, 60, 800))


def heard(audio: Any, rate: Any = 8000) -> tuple[Any, str]:
    """The samples of the WAV file that is made, with the shape (samples, channels), and what is told of it."""
    content, note = of_audio(audio, "a.wav", rate)
    with wave.open(io.BytesIO(content)) as file:
        assert file.getframerate() == int(rate)
        kind = {1: "u1", 2: "<i2", 4: "<i4"}[file.getsampwidth()]
        samples = np.frombuffer(file.readframes(file.getnframes()), kind)
        return samples.reshape(-1, file.getnchannels()), note


@pytest.mark.parametrize(
    "audio",
    [
        TONE,
        TONE.astype("float32"),
        TONE.tolist(),
        TONE[:, None],
        TONE[None],
        TONE[None, None],
        (TONE * 32767).round().astype("int16"),
        (TONE * 32767).round().astype(">i2"),
        (TONE * 32767).round().astype("int64"),
    ],
)
def test_samples_in_their_usual_range_are_as_they_are(audio: Any) -> None:
    samples, note = heard(audio)

    assert samples.shape == (800, 1)
    assert np.abs(samples[:, 0] - TONE * 32767).max() <= 1
    assert note == ""


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32"])
def test_whole_numbers_keep_every_bit(kind: str) -> None:
    given = np.random.default_rng(1).integers(np.iinfo(kind).min, np.iinfo(kind).max, 100).astype(kind)

    samples, _ = heard(given)

    assert np.array_equal(samples[:, 0], given)


def test_stereo_may_have_its_channels_first_or_last() -> None:
    stereo = np.stack([TONE, TONE / 2], axis=1)

    assert np.array_equal(heard(stereo)[0], heard(stereo.T)[0])
    assert heard(stereo)[0].shape == (800, 2)


def test_what_is_too_loud_is_made_quieter_and_silence_is_told() -> None:
    loud, told = heard(TONE * 20000)
    _, of_silence = heard(np.zeros(100))
    _, of_equal = heard(np.full(100, 7, "int16"))
    odd, of_nan = heard(np.array([0.5, np.nan, np.inf]))

    assert np.abs(loud[:, 0] - TONE / np.abs(TONE).max() * 32767).max() <= 1
    assert "made quieter" in told
    assert ["silent" in each for each in (of_silence, of_equal)] == [True, True]
    assert (odd[:, 0].tolist(), "2 of its samples" in of_nan) == ([16384, 0, 0], True)


@pytest.mark.parametrize(
    "audio",
    [
        *(np.zeros(0), np.zeros((3, 40, 50)), np.zeros((100, 100)), np.array(["a"]), np.zeros(5, complex), TONE > 0),
        *(np.array([70000, 3]), np.array([1, 2], "int8"), None, object()),
    ],
)
def test_what_is_no_sound_is_refused(audio: Any) -> None:
    with pytest.raises(InvalidArgument, match="samples"):
        of_audio(audio, "a.wav", 8000)


@pytest.mark.parametrize("rate", [None, 0, -1, "fast", 1.5, 2**31])
def test_samples_need_a_rate(rate: Any) -> None:
    with pytest.raises(InvalidArgument, match="sample_rate"):
        of_audio(TONE, "a.wav", rate)


def test_files_stay_as_they_are(tmp_path: Path) -> None:
    content, _ = of_audio(TONE, "a.wav", 8000)
    (tmp_path / "a.wav").write_bytes(content)

    assert of_audio(content, "b.wav") == of_audio(tmp_path / "a.wav", "b.wav") == (content, "")
    assert [ending_of(each) for each in (content, b"fLaC...", "x/a.MP3", TONE)] == ["wav", "flac", "mp3", "wav"]
    with pytest.raises(InvalidArgument, match="no WAV"):
        ending_of(b"text")
