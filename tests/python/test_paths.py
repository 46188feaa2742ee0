from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._sdk import paths
from assay.errors import PathInvalid

PARTS = st.sampled_from(["..", ".", "", "a", "..a", "%2e%2e", "\\", "/", "C:", "\x00", "\u2215", "\uff0e\uff0e", "é"])


@pytest.mark.parametrize("path", ["a", "a/b.txt", "..a/b..", "%2e%2e/x", "ä/日本", "a b/c;d", "x" * 1024])
def test_a_path_in_normal_form_is_taken_to_the_letter(path: str) -> None:
    assert paths.checked(path) == path


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "is empty"),
        ("/a", "absolute"),
        ("a/", "normal form"),
        ("a//b", "normal form"),
        ("./a", "normal form"),
        ("a/../b", "climbs"),
        ("..", "climbs"),
        ("a\\b", "backslash"),
        ("C:/a", "absolute"),
        ("a\x00", "control character"),
        ("a\nb", "control character"),
        ("a\x85", "control character"),
        ("\ud800", "Unicode"),
        ("x" * 1025, "1025 bytes"),
        ("ä" * 513, "1026 bytes"),
    ],
)
def test_a_bad_path_is_refused_with_its_rule(path: str, rule: str) -> None:
    with pytest.raises(PathInvalid, match=rule) as refused:
        paths.checked(path)

    assert rule in refused.value.metadata["rule"]


@given(st.lists(PARTS, max_size=6).flatmap(lambda parts: st.sampled_from(["/".join(parts), "".join(parts)])))
def test_no_path_that_is_taken_leaves_its_root(path: str) -> None:
    try:
        paths.checked(path)
    except PathInvalid:
        return

    landed = posixpath.normpath(posixpath.join("/root/folder", path))

    assert landed == f"/root/folder/{path}"
