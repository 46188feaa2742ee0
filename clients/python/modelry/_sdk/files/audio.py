"""Sound: arrays of samples as the bytes of an audio file."""

from __future__ import annotations

import io
import operator
import os
import wave
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import local_files
from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of, require_unmasked
from modelry._sdk.values.texts import said_of, shown
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy.typing as npt

_MOST_CHANNELS = 32
_LOUDEST = 32767
_BEGINNINGS = {
    b"RIFF": "wav",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"ID3": "mp3",
    b"\xff\xfb": "mp3",
    b"\xff\xf3": "mp3",
    b"\xff\xf2": "mp3",
}
"""How files of a format begin."""
_NAMES = {"wave": "wav", "oga": "ogg", "opus": "ogg"}
_SHORTEST = {"wav": 44, "ogg": 27, "flac": 42, "mp3": 10}
"""The bytes of the smallest file of a format."""
_WAYS = "integers of 8, 16 or 32 bits, or fractions from -1 to 1"


def ending_of(audio: Any) -> str:
    """The extension for sound that gets a name of its own: that of a file, or `wav` for samples.

    Raises InvalidArgument for bytes that are no audio file of a known format.
    """
    if isinstance(audio, bytes | bytearray | memoryview):
        for beginning, ending in _BEGINNINGS.items():
            if bytes(audio[:4]).startswith(beginning):
                return ending
        raise InvalidArgument("these bytes are no WAV, FLAC, Ogg or MP3 file; give samples as an array, or a path")
    if isinstance(audio, str | os.PathLike):
        return PurePosixPath(os.fspath(audio)).suffix.lstrip(".").lower() or "wav"
    return "wav"


def of_audio(audio: Any, path: str, sample_rate: Any = None) -> tuple[bytes, str]:
    """Sound in the format of the path's extension, and what whoever listens to it must know, if anything.

    It takes bytes and the path of an audio file, which stay as they are, and samples: an array or tensor of shape
    (samples,), (samples, channels) or (channels, samples), where the longer dimension is that of the samples. Integers
    of 8 (unsigned), 16 and 32 bits keep every bit in a WAV file; fractions from -1 to 1 get 16 bits. Louder fractions
    are made quieter as a whole. `sample_rate` is in samples per second. WAV needs only NumPy; other formats need the
    package soundfile. Raises InvalidArgument for what is no sound, for samples without a rate, and if a package is
    missing.
    """
    if isinstance(audio, bytes | bytearray | memoryview):
        return _file(bytes(audio), "these bytes", path), ""
    if isinstance(audio, str | os.PathLike):
        local_files.require_no_url(audio)
        return _file(Path(audio).read_bytes(), shown(os.fspath(audio)), path), ""
    require_unmasked(audio, "sound")
    rate = _rate(sample_rate)
    samples, note = _samples(_upright(_array(audio)))
    ending = PurePosixPath(path).suffix.lstrip(".").lower() or "wav"
    return (_wav(samples, rate) if ending in {"wav", "wave"} else _other(samples, rate, ending, path)), note


def _file(content: bytes, what: str, path: str) -> bytes:
    """The content of an audio file. Raises InvalidArgument if it is not what its beginning or the extension says."""
    ending = PurePosixPath(path).suffix.lstrip(".").lower()
    wanted = _NAMES.get(ending, ending)
    found = next((each for beginning, each in _BEGINNINGS.items() if content.startswith(beginning)), "")
    if found == "wav" and not (content[8:12] == b"WAVE" and b"fmt " in content and b"data" in content):
        found, why = "", "it begins as a WAV file, and has no sound"
    elif found and len(content) < _SHORTEST[found]:
        found, why = "", f"it begins as {found.upper()}, and ends after {len(content)} bytes"
    elif found:
        why = f"it is {found.upper()}"
    elif wanted == "mp3" and len(content) > 1 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0:
        found, why = "mp3", ""
    else:
        why = "it begins otherwise" if content else "it is empty"
    if (wanted in _SHORTEST and found != wanted) or not content:
        raise InvalidArgument(
            f"{what} can't be the content of {path!r}: {why}; give samples as an array with sample_rate, or the "
            "content of an audio file with its own extension; log_artifact logs any file"
        )
    return content


def _rate(given: Any) -> int:
    try:
        rate = operator.index(given.item() if hasattr(given, "item") else given)
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        rate = int(given) if isinstance(given, float) and given.is_integer() else 0
    if not 0 < rate < 2**31:
        raise InvalidArgument(
            f"sample_rate is {shown(given)}; samples need their rate as a whole number of samples per second, such as "
            "16000"
        )
    return rate


def _array(audio: Any) -> npt.NDArray[Any]:
    try:
        return array_of(audio)
    except ImportError:
        raise InvalidArgument("logging an array as sound needs NumPy; install it") from None
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        kind = type(audio).__name__
        raise InvalidArgument(f"{kind} can't be read as an array of samples: {said_of(problem)}") from None


def _upright(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The samples with the shape (samples, channels)."""
    shape = array.shape
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]  # a batch of one
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T  # the channels come first, as in PyTorch
    if array.ndim != 2 or not array.size or array.shape[1] > _MOST_CHANNELS:
        raise InvalidArgument(
            f"samples have the shape (samples,), (samples, channels) or (channels, samples), with at most "
            f"{_MOST_CHANNELS} channels, not {shape}; log each sound of a batch by itself"
        )
    return array


def _samples(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    """The samples as unsigned integers of 8 bits, or as integers of 16 or 32 bits, in the order of bytes of WAV."""
    import numpy as np

    kind = array.dtype
    if kind.kind == "f":
        array, note = _of_fractions(array)
    elif kind.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if kind not in (np.uint8, np.int16, np.int32):
            if not (kind.kind == "i" and low >= -(2**15) and high < 2**15 and kind.itemsize > 1):
                raise InvalidArgument(f"samples are {_WAYS}, not {kind} from {low} to {high}")
            array = array.astype(np.int16)
        note = "it is silent: all samples are the same" if low == high else ""
    else:
        raise InvalidArgument(f"samples are {_WAYS}, not {kind}")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")), note


def _of_fractions(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    import numpy as np

    numbers = array.astype(np.float64)
    finite = np.isfinite(numbers)
    notes = []
    if not finite.all():
        notes.append(f"{int((~finite).sum())} of its samples are NaN or infinite: they are silent")
        numbers = np.where(finite, numbers, 0)
    loudest = float(np.abs(numbers).max())
    if loudest > 1:
        notes.append(f"its samples reach {loudest:g}, and sound is from -1 to 1: all of it is made quieter")
        numbers = numbers / loudest
    elif loudest * _LOUDEST < 0.5:
        notes.append(f"it is silent: its samples reach {loudest:g}, and sound is from -1 to 1")
    return (numbers * _LOUDEST).round().astype(np.int16), "; ".join(notes)


def _wav(samples: npt.NDArray[Any], rate: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def _other(samples: npt.NDArray[Any], rate: int, ending: str, path: str) -> bytes:
    try:
        import soundfile
    except (ImportError, OSError):  # the latter without its library in C
        raise InvalidArgument(
            f"{path!r}: writing {ending!r} needs the package soundfile; install it, or use the extension .wav"
        ) from None
    if samples.dtype.itemsize == 1:  # soundfile has no unsigned integers
        samples = (samples.astype("int16") - 128) << 8
    out = io.BytesIO()
    try:
        soundfile.write(out, samples, rate, format=ending)
    except Exception as problem:  # It raises errors of several kinds, among them those of libsndfile.
        signals.pass_on(problem)
        raise InvalidArgument(f"{path!r}: the sound can't be written as {ending!r}: {said_of(problem)}") from None
    return out.getvalue()
