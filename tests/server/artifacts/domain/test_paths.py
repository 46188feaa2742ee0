"""One place judges paths, and no good path leaves its root."""

from __future__ import annotations

import posixpath
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelry_server.artifacts.domain.paths import DEEPEST, LONGEST, LONGEST_PART, ArtifactPath, ancestors, folder
from modelry_server.artifacts.errors import PathInvalid

BAD = [
    ("", "empty"),
    ("../x", "dot-dot"),
    ("..", "dot-dot"),
    ("a/../../x", "dot-dot"),
    ("a/..", "dot-dot"),
    ("..\\x", "backslash"),
    ("%2e%2e%2fx", "encoded"),
    ("%2E%2E/x", "encoded"),
    ("%252e%252e%252fx", "encoded"),
    ("a%00b", "encoded"),
    ("a%5cb", "encoded"),
    ("a;/../x", "dot-dot"),
    ("a#/../x", "dot-dot"),
    ("a?/../x", "dot-dot"),
    ("/etc/passwd", "absolute"),
    ("C:/x", "absolute"),
    ("C:x", "absolute"),
    ("\\\\host\\share", "backslash"),
    ("file:///x", "normal-form"),
    ("a//b", "normal-form"),
    ("a/./b", "normal-form"),
    ("a/", "normal-form"),
    (".", "normal-form"),
    ("./.", "normal-form"),
    (".//", "normal-form"),
    ("a\0b", "control"),
    ("a\nb", "control"),
    ("a\x7fb", "control"),
    ("a\u0085b", "control"),
    ("a\u2028b", "control"),
    ("a\u202eb", "control"),
    ("\uff0e\uff0e\uff0fx", "lookalike"),
    ("a\u2215b", "lookalike"),
    ("a\uff3cb", "lookalike"),
    ("a%2f..%2fb", "encoded"),
    ("a%0ab", "encoded"),
    ("a%ef%bc%8fb", "encoded"),
    ("/".join("a" * (DEEPEST + 1)), "depth"),
    ("a/" + "b" * (LONGEST_PART + 1), "part-length"),
    ("\u00e9" * (LONGEST_PART // 2 + 1), "part-length"),
    ("a" * (LONGEST + 1), "length"),
    ("\u00e9" * (LONGEST // 2 + 1), "length"),
    ("a\ud800", "encoding"),
]

GOOD = [
    "a",
    "a/b",
    "model/MLmodel",
    ".hidden",
    "a..b",
    "...",
    "a b",
    "a;b",
    "a#b?c",
    "100%",
    "50%25",
    "con",
    "a.",
    "Model.pkl",
    "\u00e9/e\u0301",
    "\u6a21\u578b/\U0001f9ea.txt",
    "/".join(["a" * LONGEST_PART] * (LONGEST // (LONGEST_PART + 1))),
    "/".join("a" * DEEPEST),
    "day=1%2F2/a",
    "a%252fb",
    "http:x",
]


@pytest.mark.parametrize(("text", "rule"), BAD)
def test_a_bad_path_is_refused_with_the_rule_that_it_breaks(text: str, rule: str) -> None:
    with pytest.raises(PathInvalid) as refused:
        ArtifactPath(text, "header.path")

    assert refused.value.metadata["rule"] == rule
    assert list(refused.value.violations) == ["header.path"]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_path_is_kept_to_the_letter(text: str) -> None:
    assert ArtifactPath(text).text == text


def test_the_empty_path_is_the_root_only_where_a_root_may_be() -> None:
    assert folder("") is None
    assert folder("a") == ArtifactPath("a")


def test_a_refusal_shows_no_control_character() -> None:
    with pytest.raises(PathInvalid) as refused:
        ArtifactPath("a\n\x1b[31mb")

    assert refused.value.message.isprintable()
    assert refused.value.metadata["path"].isprintable()


def test_the_folders_of_a_path_are_named_from_the_root_downwards() -> None:
    assert ancestors("a/b/c") == ["", "a", "a/b"]


@given(st.text(st.sampled_from("./\\%2eEfF5cC:;#?~\0\n ab\uff0e\uff0f\u2215\u2024") | st.characters(), max_size=40))
def test_no_accepted_path_leaves_its_root(text: str) -> None:
    try:
        path = ArtifactPath(text).text
    except PathInvalid:
        return

    assert posixpath.normpath(posixpath.join("/root", path)) == f"/root/{path}"


@given(st.lists(st.text(string.ascii_letters + string.digits + "-_. ", min_size=1), min_size=1, max_size=5))
def test_plain_parts_make_a_good_path_unless_one_is_only_dots(parts: list[str]) -> None:
    text = "/".join(parts)

    if {".", ".."} & set(parts) or len(text) > LONGEST:
        with pytest.raises(PathInvalid):
            ArtifactPath(text)
    else:
        assert ArtifactPath(text).text == text
