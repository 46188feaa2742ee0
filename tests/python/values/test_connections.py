"""Passwords are taken out of connection strings of every driver, also inside of SQL."""

from __future__ import annotations

import time

import pytest

from modelry._sdk.values import connections

S = "sEcr3tq7Rt5Yp0Lm2"
"""A value that must not be shown."""

SECRETS = [
    *(f"host=h password={S} dbname=x", f"host=h password='{S} b' dbname=x", f"host=h password = {S}", f"?password={S}"),
    *(f"Server=h;Pwd={S};", f"Server=h;Pwd={S}", f"Driver={{X}};PWD={{{S};b}};", f"Server=h;Password=a {S};Encrypt=1"),
    *(f"Server=h; User Id=u; Password={S}", f"Pwd=/{S};Server=h", f"AccountName=a;AccountKey={S}==;Suffix=x"),
    *(f"jdbc:postgresql:u:{S}@h/db", f"jdbc:postgresql://h/db?user=u&password={S}", f"jdbc:oracle:thin:u/{S}@//h:1/x"),
    *(f"jdbc:sqlserver://h;user=sa;password={S};", f"jdbc:mysql://u:{S}@h/db", f"postgresql://u:{S}@h/db"),
    *(f"u:{S}@tcp(h:3306)/db", f"u:{S}@h:5432/db", f"https://h/a?token={S}", f"https://h/a#access_token={S}"),
    *(f"DefaultEndpointsProtocol=https;SharedAccessSignature={S};", f"mssql:///?odbc_connect=PWD%3D{S}"),
]
IN_SQL = [
    *(f"SELECT * FROM dblink('{each}', 'SELECT 1')" for each in SECRETS if "'" not in each),
    *(f"SELECT * FROM dblink('host=h password=''{S} b''')", f"CREATE USER MAPPING OPTIONS (user 'u', password '{S}')"),
    *(f"CREATE SECRET (TYPE s3, KEY_ID 'x', SECRET '{S}')", f"ALTER USER u IDENTIFIED BY '{S}'", f"PASSWORD '{S}''b'"),
    *(f"SELECT 1 -- https://u:{S}@h/x", f"ATTACH 'hf_{S}{S}'", f'IDENTIFIED BY "{S}"', f"IDENTIFIED BY {S}"),
    f"SELECT\n1 FROM postgres_scan('host=h\npassword={S}')",
]
KEPT = [
    *(
        "data/a.csv",
        "s3://bucket/a@b.csv",
        "C:\\data\\a.csv",
        "git@github.com:org/repository",
        "",
        "a:b@c",
        "sqlite://",
    ),
    *("/mnt/storage/projects/machinelearning/datasets/imagenet/training", "iris:v3@latest", "host=h dbname=x user=u"),
    *("Server=h;Database=x;", "jdbc:postgresql://h/db", "jdbc:oracle:thin:@//h:1521/x", "jdbc:sqlite:/data/a@b.db"),
    *(
        "SELECT token, count FROM words WHERE token IN ('Paris', 'b')",
        "SELECT a.token FROM a JOIN b ON a.token = b.token",
    ),
    *("SELECT 'key', password_changed FROM users WHERE key = 'abc1234'", "SELECT * FROM u WHERE api_key = ?"),
    *("SELECT * FROM u WHERE api_key = :api_key AND token = %(token)s", "SELECT * FROM u WHERE api_key = $1"),
    *("SELECT pad_token FROM a WHERE user = 'u1234567'; SELECT 1", "SELECT passenger, password FROM users"),
]


@pytest.mark.parametrize("text", SECRETS + IN_SQL)
def test_a_password_is_taken_out_of_a_connection_string(text: str) -> None:
    for shown in (connections.without_credentials(text), connections.masked(text)):
        assert S not in shown
        assert connections.masked(shown) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_has_no_password_stays_as_it_is(text: str) -> None:
    assert connections.without_credentials(text) == text
    assert connections.masked(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "a=",
        "a={",
        "a=''",
        "eyJaaaaaaaa.",
        "a-b ",
        "a '",
        ";a=",
        "jdbc:a:b:",
        "a:b@",
        "a:",
        "identified by ",
        "password=",
        " ",
        "a@",
        ";",
        "'",
    ],
)
def test_a_long_text_takes_no_long_time(part: str) -> None:
    began = time.process_time()

    connections.masked(part * (200_000 // len(part)))

    assert time.process_time() - began < 1
