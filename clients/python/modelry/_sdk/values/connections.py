"""Masks the passwords in what says how to reach a database, in every form that drivers take, also inside of SQL."""

from __future__ import annotations

import re

from modelry._sdk.values import secrets, urls
from modelry._sdk.values.secret_names import kind

_URL = re.compile(r"[A-Za-z][\w.+:-]*://")
_USERS = (
    # jdbc:postgresql:user:password@host, jdbc:oracle:thin:user/password@host
    re.compile(r"(?P<before>\bjdbc:\w{1,32}:(?:(?:thin|oci8?):)?+)[^\s:/@'\"]{1,128}[:/][^\s'\"]{0,512}?@(?=[\w/\[(])"),
    # user:password@tcp(host:3306)/name, user:password@host:5432
    re.compile(
        r"(?P<before>(?<![\w/@.+:-]))(?!git:)[\w.+-]{1,64}:(?!//)[^\s@'\"]{1,256}@(?=(?:tcp|unix)\(|[\w.-]{1,255}:\d{2,5}\b)"
    ),
)
_PAIRS = (
    # Server=h;Pwd={a;b};
    re.compile(r"(?P<name>[\w.-]{1,64})(?P<sign>\s{0,8}=\s{0,8})(?P<value>\{(?:[^{}]|\}\})*\})"),
    # Server=h;Pwd=a b;Encrypt=1
    re.compile(
        r"(?P<name>(?:^|(?<=[;'\"]))[ \t]{0,8}[\w. -]{1,64})(?P<sign>=)(?P<value>[^;'\"\n]+)(?=;)", re.MULTILINE
    ),
    # dblink('host=h password=''a b''')
    re.compile(r"(?P<name>[\w.-]{1,64})(?P<sign>\s{0,8}=\s{0,8}'')(?P<value>[^']+)(?='')"),
    # PASSWORD 'a', IDENTIFIED BY 'a'
    re.compile(r"(?P<name>\b[A-Za-z_]\w{0,63})(?P<sign>\s{1,8}')(?P<value>(?:[^']|'')+)(?=')"),
)
_IDENTIFIED = re.compile(r"(?i)(?P<before>\bIDENTIFIED\s{1,8}BY\s{1,8})('(?:[^']|'')*+'|\"[^\"]*+\"|\w+)")


def without_credentials(text: str) -> str:
    """A URL, a connection string or a text that contains some, without passwords.

    A URL that is the whole text loses its user and the values of its secret parameters. Elsewhere `***` is in their
    place: strings of libpq (`password=…`), ODBC and ADO.NET (`Pwd=…;`), JDBC and Go, URLs, and options of SQL.
    """
    return masked(urls.without_credentials(text) if _URL.match(text) else text)


def masked(text: str) -> str:
    """A text with `***` in the place of the passwords of connection strings in it."""
    shown = urls.masked(text)
    for pattern in _USERS:
        shown = pattern.sub(rf"\g<before>{secrets.MASK}@", shown)
    for pattern in _PAIRS:
        shown = pattern.sub(_without_value, shown)
    shown = _IDENTIFIED.sub(rf"\g<before>'{secrets.MASK}'", shown)
    return secrets.masked_text(shown)


def _without_value(found: re.Match[str]) -> str:
    name = found["name"].strip()
    is_secret = kind(name) or name.lower().endswith(("signature", "sig"))
    return f"{found['name']}{found['sign']}{secrets.MASK}" if is_secret else found[0]
