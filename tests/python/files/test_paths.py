from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelry._sdk.files import paths
from modelry.errors import PathInvalid
from modelry_server.artifacts import errors as server_errors
from modelry_server.artifacts.domain.paths import ArtifactPath

PARTS = st.sampled_from(["..", ".", "", "a", "..a", "%2e%2e", "\\", "/", "C:", "\x00", "\u2215", "\uff0e\uff0e", "é"])
CANDIDATES = st.text() | st.lists(PARTS, max_size=6).flatmap(
    lambda parts: st.sampled_from(["/".join(parts), "".join(parts)])
)


def taken(path: str) -> bool:
    try:
        paths.checked(path)
    except PathInvalid:
        return False
    return True


@pytest.mark.parametrize("path", ["a", "a/b.txt", "..a/b..", "100%/x", "ä/日本", "a b/c;d", "x" * 1024])
def test_a_path_in_normal_form_is_taken_to_the_letter(path: str) -> None:
    assert paths.checked(path) == path


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "empty"),
        ("/a", "absolute"),
        ("a/", "normal-form"),
        ("a//b", "normal-form"),
        ("./a", "normal-form"),
        ("a/../b", "dot-dot"),
        ("..", "dot-dot"),
        ("a\\b", "backslash"),
        ("C:/a", "absolute"),
        ("a\x00", "control"),
        ("a\nb", "control"),
        ("a\x85", "control"),
        ("a\u202eb", "control"),
        ("%2e%2e/a", "encoded"),
        ("a%252fb", "encoded"),
        ("\uff0e\uff0e/a", "lookalike"),
        ("\ud800", "encoding"),
        ("x" * 1025, "length"),
        ("ä" * 513, "length"),
    ],
)
def test_a_bad_path_is_refused_with_its_rule(path: str, rule: str) -> None:
    with pytest.raises(PathInvalid) as refused:
        paths.checked(path)

    assert refused.value.metadata["rule"] == rule


@given(CANDIDATES)
def test_no_path_that_is_taken_leaves_its_root(path: str) -> None:
    if not taken(path):
        return

    landed = posixpath.normpath(posixpath.join("/root/folder", path))

    assert landed == f"/root/folder/{path}"


@given(CANDIDATES)
def test_client_and_server_take_the_same_paths(path: str) -> None:
    try:
        ArtifactPath(path)
    except server_errors.PathInvalid:
        assert not taken(path)
    else:
        assert taken(path)
