"""Users, passwords and tokens are taken out of URLs by one function, wherever the URLs come from."""

from __future__ import annotations

import time

import pytest

from modelry._sdk.values import connections, secrets, urls

S = "sEcr3tq7Rt5Yp0Lm2"
"""A value that must not be shown."""

WITH_USERS = [
    (f"https://user:{S}@host/a.csv", "https://host/a.csv"),
    (f"https://{S}@github.com/org/repository", "https://github.com/org/repository"),
    (f"postgresql+psycopg://u:{S}@db:5432/prices", "postgresql+psycopg://db:5432/prices"),
    (f"postgresql://u:{S}/#?x@db/prices", "postgresql://db/prices"),
    (f"postgresql://u:a/{S}@db/prices", "postgresql://db/prices"),
    (f"postgresql://u:a/{S}@{S}@db/prices", "postgresql://db/prices"),
    (f"postgresql://u:{S}@more@db/prices", "postgresql://db/prices"),
    (f"postgresql://u:a/{S}@[::1]:5432/prices", "postgresql://[::1]:5432/prices"),
    (f"mongodb+srv://u:a@{S}@h/db", "mongodb+srv://h/db"),
    (f"redis://:{S}@h:6379", "redis://h:6379"),
    (f"kafka://u:{S}@h1,u:{S}@h2", "kafka://h2"),
    (f"git+https://oauth2:{S}@host/org/repository@v1.2#egg=x", "git+https://host/org/repository@v1.2#egg=x"),
    (f"https://user:{S}@host/data@v1/a.csv", "https://host/data@v1/a.csv"),
    (f"ssh://git:{S}@host/a.git", "ssh://host/a.git"),
    (f"git+https://git@x:{S}@h/a", "git+https://h/a"),
]
WITHOUT_USERS = [
    *("s3://bucket/a@b.csv", "http://host:80/a@b.csv", "https://h/a@b", "https://h:8080/x?y=1", "data/a.csv", ""),
    *("git@github.com:org/repository", "ssh://git@example.com/a.git", "/srv/git/a.git", "https://h?to=a@b", "a@b"),
    *("https://${USER}:${TOKEN}@host/simple", "git+https://${TOKEN}@host/org/repository@v1", "http://[::1]:80/a@b"),
    *("ssh://git@host:org/repository.git@v1", "git+ssh://git@host/org/repository@v1", "https://host#a@b"),
]


FOLDED = [
    (f"https:/user:{S}@host/a.csv", "https:/***@host/a.csv"),
    (f"https:/{S}@github.com/org/repository", "https:/***@github.com/org/repository"),
    (f"No such file: 'http:/u:{S}@h/a'", "No such file: 'http:/***@h/a'"),
    (f"/work/s3:/k:{S}@bucket/a", "/work/s3:/***@bucket/a"),
    (f"postgresql:/u:a/{S}@h/db, redis:/:{S}@h/0", "postgresql:/***@h/db, redis:/***@h/0"),
    (f"https:\\u:{S}@h\\a.csv", "https:\\***@h\\a.csv"),
    (repr(f"https:\\u:{S}@h\\a.csv"), "'https:\\\\***@h\\\\a.csv'"),
]
"""As a path that was made of a URL has it."""
PATHS = [
    *(
        "models:/name@champion",
        "models:/name/3",
        "runs:/abc/model@1",
        "C:/Users/a:b@c",
        "C:\\Users\\a:b@c",
        "/a:/b/c@2",
    ),
    *("error:/tmp/x:3: a@b", "file:/a/b@c", "http:/host:80/a@b", "https:/host/a@b", "-v data:/data:ro", "a:/b:c@d"),
]


@pytest.mark.parametrize(("text", "shown"), FOLDED)
def test_a_url_with_one_slash_loses_its_user_too(text: str, shown: str) -> None:
    assert urls.users_masked(text) == urls.masked(text) == secrets.masked(text) == connections.masked(text) == shown
    assert urls.masked(shown) == shown
    assert urls.without_user(text) == urls.without_credentials(text) == shown.replace("***@", "")


def test_a_url_with_one_slash_loses_its_secret_parameters() -> None:
    assert urls.masked(f"https:/h/a?id=5&token={S}") == "https:/h/a?id=5&token=***"


@pytest.mark.parametrize("text", PATHS)
def test_a_path_with_a_colon_stays_as_it_is(text: str) -> None:
    assert {urls.users_masked(text), urls.masked(text), secrets.masked(text), urls.without_user(text)} == {text}


@pytest.mark.parametrize(("given", "kept"), WITH_USERS)
def test_a_url_loses_its_user_and_nothing_else(given: str, kept: str) -> None:
    assert urls.without_user(given) == kept
    assert urls.without_credentials(given) == kept
    assert urls.users_masked(given) == urls.masked(given) == kept.replace("://", "://***@")


@pytest.mark.parametrize("given", WITHOUT_USERS)
def test_a_url_without_a_secret_user_stays_as_it_is(given: str) -> None:
    assert {
        urls.without_user(given),
        urls.without_credentials(given),
        urls.users_masked(given),
        urls.masked(given),
    } == {given}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"https://h/a?id=5&X-Amz-Signature={S}&token={S}", "https://h/a?id=5&X-Amz-Signature=***&token=***"),
        (f"https://h/simple?token={S}&page=2", "https://h/simple?token=***&page=2"),
        (f"mssql:///?odbc_connect=PWD%3D{S}", "mssql:///?odbc_connect=***"),
        (f"https://h/a.whl#access_token={S}&egg=a", "https://h/a.whl#access_token=***&egg=a"),
        ("https://h/a.whl#sha256=0123456789", "https://h/a.whl#sha256=0123456789"),
        ("https://h/simple?token=${TOKEN}&page=2", "https://h/simple?token=${TOKEN}&page=2"),
    ],
)
def test_parameters_whose_name_is_that_of_a_secret_lose_their_value(given: str, shown: str) -> None:
    assert urls.masked(given) == shown
    assert urls.without_credentials(given) == shown.replace("***", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'url = "https://u:{S}@h/x", "https://{S}@h"', 'url = "https://***@h/x", "https://***@h"'),
        (f"<a href='https://u:{S}@h'>a@b</a>", "<a href='https://***@h'>a@b</a>"),
        (f"https://a.b/login?next=https://u:{S}@h", "https://a.b/login?next=https://***@h"),
        (f"see https://h\nmail a@b\nhttps://{S}@h", "see https://h\nmail a@b\nhttps://***@h"),
    ],
)
def test_each_url_in_a_text_is_masked_by_itself(text: str, shown: str) -> None:
    assert urls.users_masked(text) == urls.masked(text) == shown
    assert urls.masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "://" * 100_000,
        "://a:b/" * 30_000,
        "x://" + "a:" * 100_000,
        "x://a?" + "b&" * 50_000,
        "x://a" + "#pass" * 40_000,
        "x://?" + "pass" * 50_000,
        "aa:/" * 75_000,
        "aa:/a" * 60_000,
        "https:/a:b/" * 30_000,
        "xx:/" + "a:" * 100_000,
        "http:/" + "a" * 300_000,
    ],
)
def test_a_long_text_takes_no_long_time(text: str) -> None:
    began = time.perf_counter()

    urls.masked(text)

    assert time.perf_counter() - began < 2
