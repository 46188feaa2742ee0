"""Masks the passwords in what says how to reach a database, in every form that drivers take, also inside of SQL."""

from __future__ import annotations

import re

from modelry._sdk.values import logins, secrets, urls

_URL = re.compile(r"[A-Za-z][\w.+:-]*://")
_PAIRS = (
    # Server=h;Pwd=a b;Encrypt=1
    re.compile(
        r"(?P<name>(?:^|(?<=[;'\"]))[ \t]{0,8}[\w. -]{1,64})(?P<sign>=)(?P<value>[^;'\"\n]+)(?=;)", re.MULTILINE
    ),
    # dblink('host=h password=''a b''')
    re.compile(r"(?<![\w.-])(?P<name>[\w.-]{1,128})(?P<sign>\s{0,8}=\s{0,8}'')(?P<value>[^']+)(?='')"),
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
    shown = logins.masked(urls.masked(text), is_code=False)
    for pattern in _PAIRS:
        shown = pattern.sub(_without_value, shown)
    shown = _IDENTIFIED.sub(rf"\g<before>'{secrets.MASK}'", shown)
    return secrets.masked_text(shown)


def _without_value(found: re.Match[str]) -> str:
    is_secret = logins.names_secret(found["name"].strip())
    return f"{found['name']}{found['sign']}{secrets.MASK}" if is_secret else found[0]
