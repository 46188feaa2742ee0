"""Masks logins that are no URLs: `user:password@host:5432`, and values in braces, as drivers of ODBC take them."""

from __future__ import annotations

import re

from modelry._sdk.values.secret_names import kind

MASK = "***"

_BEFORE = r"(?P<before>(?<![\w/@.+:-])[+-]?+)"
_NAME = r"(?!git:|\d{1,9}:)\w[\w.+-]{0,63}"
_USERS = (
    # jdbc:postgresql:user:password@host, jdbc:oracle:thin:user/password@host
    re.compile(r"(?P<before>\bjdbc:\w{1,32}:(?:(?:thin|oci8?):)?+)[^\s:/@'\"]{1,128}[:/][^\s'\"]{0,512}?@(?=[\w/\[(])"),
    # user:password@tcp(host:3306)/name; the sign is that of a line in a diff
    re.compile(rf"{_BEFORE}{_NAME}:(?!//)[^\s'\"]{{1,256}}?@(?=(?:tcp|unix)\()"),
    # https:///user:password@host, whose host is empty
    re.compile(r"(?P<before>(?<=://)/{1,3})[^\s/:@'\"]{1,64}:[^\s/@'\"]{1,256}@(?=[\w\[])"),
)
_AT_HOST = re.compile(
    rf"{_BEFORE}{_NAME}:(?!//)(?P<password>[^\s'\"]{{1,256}}?)"
    r"@(?=(?!sha\d+:)(?P<host>[A-Za-z0-9][\w.-]{0,254}|\[[0-9A-Fa-f:.%]{2,64}\]):(?P<port>\d{2,5})\b)"
)
"""user:password@host:5432. The password may have an `@` in it."""
_HOST = re.compile(
    r"\[.*|\d{1,3}(?:\.\d{1,3}){3}|[\w-]+(?:\.[\w-]+)*\.[A-Za-z][\w-]*"
    r"|.*(?:host|db|data|sql|postgres|redis|mongo|maria|oracle|server|proxy|broker|rabbit|kafka|mq|cache|minio).*",
    re.IGNORECASE,
)
_PORTS = {"1433", "1521", "3306", "5432", "5672", "6379", "8123", "9000", "9042", "9092", "9200", "27017"}
"""The ports of databases and brokers: what is before them is a host, also if it is a short name."""
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?%?", re.IGNORECASE)
_MADE = re.compile(r"^(?=.*\d)(?=.*[A-Za-z]).{8,}$")
"""A password that was made: no version or word at a step has so many letters and digits."""
_BRACES = re.compile(
    r"(?P<before>;\s{0,8})?(?<![\w.-])(?P<name>[\w.-]{1,128})(?P<sign>\s{0,8}=\s{0,8})"
    r"(?P<value>\{(?:[^{}]|\}\})*\})(?P<after>;)?"
)
_EXPRESSION = re.compile(r"\{[A-Za-z_][\w.]*(?:\[[^\[\]]*\]|\([^()]*\))*(?:![rsa])?(?::[<>^]?[\d.,]*[a-z%]?)?=?\}")
"""A variable in a text of Python: `f"token={config.token}"`."""
_CODE = re.compile(r"\{\s*(?:[a-zA-Z]{0,2}[\"'].*|\w+ = [\"'].*|\*.*|[\w\s.,*()\[\]-]*)\}", re.DOTALL)
"""A dictionary or a set of a program, or a table of TOML: quoted values in it are masked by themselves."""


def masked(text: str, *, is_code: bool = True) -> str:
    """The text with `***` in the place of logins; expressions of programs in braces stay if it may have some."""
    if "@" in text:
        for pattern in _USERS:
            text = pattern.sub(rf"\g<before>{MASK}@", text)
        text = _AT_HOST.sub(_without_login, text)
    if "{" not in text or "=" not in text:
        return text
    return _BRACES.sub(lambda found: _without_value(found, is_code=is_code), text)


def _without_login(found: re.Match[str]) -> str:
    """Masks what is before a host: `acc:0.91@epoch:12` is a number at a step, and `model:best@epoch:12` has no host."""
    password, is_of_a_database = found["password"], found["port"] in _PORTS
    if _NUMBER.fullmatch(password) and not (is_of_a_database and len(password) >= 4 and password.isdecimal()):
        return found[0]
    is_host = is_of_a_database or _HOST.fullmatch(found["host"]) is not None or _MADE.search(password) is not None
    return f"{found['before']}{MASK}@" if is_host else found[0]


def _without_value(found: re.Match[str], *, is_code: bool) -> str:
    is_pair = bool(found["before"] or found["after"])  # one of several with `;` between them
    is_secret = kind(found["name"]) if is_code and not is_pair else names_secret(found["name"])
    if not is_secret or (is_code and _is_code(found["value"], is_pair=is_pair)):
        return found[0]
    return f"{found['before'] or ''}{found['name']}{found['sign']}{MASK}{found['after'] or ''}"


def names_secret(name: str) -> bool:
    """Whether a name in a connection string says that its value is secret."""
    return bool(kind(name)) or name.lower().endswith(("signature", "sig"))


def _is_code(value: str, *, is_pair: bool) -> bool:
    if _EXPRESSION.fullmatch(value):
        return not is_pair or re.search(r"\d", value) is None
    is_comprehension = " for " in value and " in " in value
    return not is_pair and (is_comprehension or _CODE.fullmatch(value) is not None)
