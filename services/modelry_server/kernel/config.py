"""Settings: a file, the environment and flags become frozen dataclasses; all mistakes are reported at once.

A key has the same name everywhere: `[tracking] commit_group = 100` in the TOML file, `MODELRY_TRACKING_COMMIT_GROUP` in
the environment, `--tracking.commit-group` as a flag. A flag wins over the environment, the environment over the file.
Durations and sizes carry their unit: `5ms`, `2s`, `24h`, `64MiB`.
"""

import dataclasses
import hmac
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NewType, TypeVar

Duration = NewType("Duration", float)
"""Seconds; at most 365 days."""
Size = NewType("Size", int)
"""Bytes."""
Address = NewType("Address", str)
"""`host:port`, with an IPv6 host in brackets, or `unix:PATH`."""

EMPTY = "(empty)"
"""How an empty text is shown."""


class Secret:
    """A text that must not be shown, such as a password: only `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "(secret)" if self._text else EMPTY

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


_LONGEST_S = 365 * 86_400
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_WITH_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*\Z", re.ASCII)
_PLACE = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})\Z")
_HEADER = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY = re.compile(r"\s*([\w-]+)\s*=")
_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)\Z|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?\Z")
_MOST_PORT = 65535
_Section = TypeVar("_Section")


class ConfigurationInvalid(Exception):
    """The settings can't be used. Each of `mistakes` names a key, its value, where that is from, and what is right."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("the configuration can't be used:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
        self.mistakes = list(mistakes)


def setting(
    default: Any,
    doc: str,
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    anchored: Callable[[str, Path], str] | None = None,
) -> Any:
    """A field of a section: its default, what it means, and which values are allowed.

    `anchored` is for a value with a path: what it means in a file that lies in a folder.
    """
    allowed = {"choices": tuple(choices), "least": least, "most": most}
    return dataclasses.field(default=default, metadata={"doc": doc, "anchored": anchored, **allowed})


def in_folder(path: str, folder: Path) -> str:
    """A path that is meant from a folder. An empty one, and one that begins with `~`, stay as they are."""
    return path if not path or path.startswith("~") else str(folder / path)


def load(
    schema: type[_Section],
    *,
    file: Path | None = None,
    environment: Mapping[str, str],
    flags: Mapping[str, str],
    defaults: Mapping[str, str] | None = None,
    rules: Callable[[_Section], Iterable[str]] = lambda settings: (),
    judged: Collection[str] | None = None,
) -> _Section:
    """Reads all settings of `schema`, a dataclass with one section for each field.

    `environment` is searched for `MODELRY_<SECTION>_<KEY>`. Another name that begins with `MODELRY_<SECTION>_` is a
    mistake, unless it is one of `schema.OTHERS`, the variables of other programs, or Kubernetes made it. `flags` maps
    `section.key` to its text, and so does `defaults`, for a command whose defaults are others than those of the schema.
    A relative path in the file is meant from the folder of the file, another one from the current folder. A section may
    have a method `mistakes()` for combinations of its settings that can't work; `rules` does the same for all sections.
    Both give a line for each mistake, which names the keys that it is about. Only the sections in `judged`, by default
    all, are asked for theirs.

    Raises ConfigurationInvalid with every mistake.
    """
    mistakes: list[str] = []
    given: dict[str, tuple[Any, str]] = {
        key.replace("-", "_"): (text, "the default of the command") for key, text in (defaults or {}).items()
    }
    known = {
        f"{section}.{field.name}": field for section, kind in sections(schema) for field in dataclasses.fields(kind)
    }
    if file is not None:
        for key, (value, origin) in _from_file(file, mistakes):
            anchored = known[key].metadata["anchored"] if key in known and isinstance(value, str) else None
            given[key] = (anchored(value, file.absolute().parent) if anchored else value, origin)
    variables = {_variable(key): key for key in known}
    for name, key in variables.items():
        if name in environment:
            given[key] = (environment[name], f"the environment variable {name}")
    for name in _unknown(environment, schema, variables):
        near = _nearest(name.removeprefix("MODELRY_").lower().replace("_", ".", 1), known)
        hint = f"did you mean {_variable(near)}?" if near else "`modelry server --help` lists all"
        # Its value is not shown: it may be a secret.
        mistakes.append(f"{name} (an environment variable): there is no such setting; {hint}")
    for flag, text in flags.items():
        given[flag.replace("-", "_")] = (text, f"the flag --{flag}")
    values: dict[str, dict[str, Any]] = {section: {} for section, _ in sections(schema)}
    unread = []
    for key, (value, origin) in given.items():
        near = key if key in known else _nearest(key, known)
        # A mistyped key of a secret has a secret as its value.
        said = "(secret)" if near in known and known[near].type is Secret else repr(value)
        if key not in known:
            hint = f"did you mean {near}?" if near else "`modelry server --help` lists all"
            mistakes.append(f"{key} = {said} ({origin}): there is no such setting; {hint}")
            continue
        section, name = key.split(".", 1)
        try:
            values[section][name] = _read(known[key], value)
        except ValueError as problem:
            mistakes.append(f"{key} = {said} ({origin}): {problem}")
            unread.append(key)
    built = {section: kind(**values[section]) for section, kind in sections(schema)}
    settings = schema(**built)
    asked = [built[name] for name in built if judged is None or name in judged]
    lines = [line for section in asked if hasattr(section, "mistakes") for line in section.mistakes()]
    # A value that could not be read was replaced by its default. What a rule says about that would mislead.
    mistakes += [line for line in (*lines, *rules(settings)) if not any(_names(line, key) for key in unread)]
    if mistakes:
        raise ConfigurationInvalid(mistakes)
    return settings


def _variable(key: str) -> str:
    return f"MODELRY_{key.replace('.', '_').upper()}"


def _unknown(environment: Mapping[str, str], schema: type, variables: Collection[str]) -> list[str]:
    """The variables that have the form of a setting and are none."""
    begins = tuple(_variable(f"{section}.") for section, _ in sections(schema))
    known = {*variables, *getattr(schema, "OTHERS", ())}
    odd = [name for name in environment if name.startswith(begins) and name not in known]
    return [name for name in odd if not _is_of_kubernetes(name, environment[name])]


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Whether a variable tells a pod of a service, such as one that is called `modelry-tracking`."""
    return _OF_A_SERVICE.search(name) is not None or (name.endswith("_PORT") and "://" in value)


def sections(schema: type) -> Iterator[tuple[str, type]]:
    """The sections of a schema by name, in order."""
    for field in dataclasses.fields(schema):
        if not isinstance(field.type, type):
            raise TypeError(f"{schema.__name__}.{field.name} must be annotated with a class, not with text")
        yield field.name, field.type


def duration(value: Any) -> float:
    """The seconds of a text such as `5ms`, `2s` or `24h`. Raises ValueError."""
    return _read_unit(value, _SECONDS, "a duration such as '5ms', '2s' or '24h'")


def place(address: str) -> tuple[str, int] | None:
    """The host, without brackets, and the port of an address; None if it is a Unix socket's.

    Raises ValueError if it is no address.
    """
    if address.startswith("unix:") and address.removeprefix("unix:").strip("/"):
        return None
    match = _PLACE.match(address)
    if match is None or int(match[2]) > _MOST_PORT:
        raise ValueError(
            f"must be `host:port` with a port up to {_MOST_PORT}, such as '127.0.0.1:5100' or '[::1]:5100'"
        )
    return match[1].strip("[]"), int(match[2])


def reference(schema: type) -> str:
    """The reference page of all settings, as Markdown tables."""
    lines: list[str] = []
    for section, kind in sections(schema):
        lines += [
            f"## [{section}]",
            "",
            (kind.__doc__ or "").strip(),
            "",
            "| key | default | what it means |",
            "| --- | --- | --- |",
        ]
        for field in dataclasses.fields(kind):
            doc = field.metadata["doc"]
            if field.metadata["choices"]:
                doc += " One of: " + ", ".join(f"`{choice}`" for choice in field.metadata["choices"]) + "."
            if allowed := range_of(field):
                doc += f" {allowed.capitalize()}."
            lines.append(f"| `{field.name}` | {written(field)} | {doc} |")
        lines.append("")
    return "\n".join(lines)


def _from_file(file: Path, mistakes: list[str]) -> Iterator[tuple[str, tuple[Any, str]]]:
    try:
        text = file.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        mistakes.append(f"there is no file {file}")
        return
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        mistakes.append(f"{file}: can't be read as TOML: {problem}")
        return
    for section, keys in content.items():
        if not isinstance(keys, dict):
            mistakes.append(f"{section} = {keys!r} ({file}): settings belong in sections, such as [tracking]")
            continue
        for name, value in keys.items():
            yield f"{section}.{name}", (value, f"{file}{_line(text, section, name)}")


def _line(text: str, section: str, name: str) -> str:
    """The line of a TOML file on which a key stands, as `:7`; empty if it is written in an unusual way."""
    present = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            present = header[1]
        elif (key := _KEY.match(line)) and (present, key[1]) == (section, name):
            return f":{number}"
    return ""


def _read(field: dataclasses.Field[Any], value: Any) -> Any:
    kind = field.type
    if kind is bool:
        return _read_bool(value)
    if kind is int:
        number: float = _read_int(value)
    elif kind is Duration:
        number = duration(value)
    elif kind is Size:
        number = int(_read_unit(value, _BYTES, "a size such as '512KiB' or '64MiB'"))
    else:
        if not isinstance(value, str):
            raise ValueError("must be a text in quotes")
        if kind is Secret:
            return Secret(value)
        if kind is Address and value != field.default:
            found = place(value)
            if found is not None and found[1] < field.metadata["least"]:
                raise ValueError(f"must have a port from {field.metadata['least']} to {_MOST_PORT}")
        if field.metadata["choices"] and value not in field.metadata["choices"]:
            raise ValueError(f"must be one of {', '.join(field.metadata['choices'])}")
        return value
    least, most = _bounds(field)
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(f"must be {range_of(field).replace('`', '')}")
    return number


def _bounds(field: dataclasses.Field[Any]) -> tuple[float | None, float | None]:
    """The smallest and the largest number that a setting takes."""
    most = field.metadata["most"]
    return field.metadata["least"], _LONGEST_S if field.type is Duration and most is None else most


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError("must be true or false")


def _read_int(value: Any) -> int:
    try:
        if isinstance(value, (bool, float)) or not str(value).isascii():  # int() reads the digits of all scripts
            raise ValueError
        return int(value)
    except (ValueError, TypeError):
        raise ValueError("must be a whole number") from None


def _read_unit(value: Any, units: Mapping[str, float], wanted: str) -> float:
    match = _WITH_UNIT.match(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"must be {wanted}")
    return float(match[1]) * units[match[2]]


def _names(line: str, key: str) -> bool:
    return re.search(rf"\b{re.escape(key)}\b", line) is not None


def _nearest(key: str, known: Mapping[str, object]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(key, known, n=1)), None)


def written(field: dataclasses.Field[Any]) -> str:
    """The default of a setting as a person would write it, in backticks."""
    default: Any = field.default
    if default == "" or default == Secret(""):
        return EMPTY
    return f"`{_with_unit(field.type, default)}`"


def range_of(field: dataclasses.Field[Any]) -> str:
    """Which numbers a setting takes, such as "from `2` to `256`". Empty if it is no number, or takes any."""
    if field.type not in (int, Duration, Size):
        return ""
    low, high = (None if bound is None else f"`{_with_unit(field.type, bound)}`" for bound in _bounds(field))
    if high is None:
        return "" if low is None else f"at least {low}"
    return f"at most {high}" if low is None else f"from {low} to {high}"


def _with_unit(kind: Any, value: Any) -> str:
    """A value of a kind as a person would write it."""
    if kind is Duration:
        if value == _LONGEST_S:
            return "365d"
        unit = next(unit for unit in ("h", "m", "s", "ms") if value >= _SECONDS[unit] or unit == "ms")
        return f"{value / _SECONDS[unit]:g}{unit}"
    if kind is Size:
        unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if value % _BYTES[unit] == 0)
        return f"{value // _BYTES[unit]}{unit}"
    return str(value).lower() if isinstance(value, bool) else str(value)
