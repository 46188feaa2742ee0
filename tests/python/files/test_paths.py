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


LONG = "/".join(["x" * 255] * 4)
DEEP = "/".join(["x"] * 64)


@pytest.mark.parametrize(
    "path", ["a", "a/b.txt", "..a/b..", "100%/x", "ä/日本", "a b/c;d", "day=1%2F2/a", "a%252fb", "a/b:c", LONG, DEEP]
)
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
        ("a%252f..", "encoded"),
        ("a%09b", "encoded"),
        ("a/b%5cc", "encoded"),
        (f"{DEEP}/x", "depth"),
        ("a/" + "x" * 256, "part-length"),
        ("ä" * 128, "part-length"),
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


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("", "plain", "plain"),
        ("f", "a:b", "f/a:b"),
        ("", "a:b", "a_x003A_b"),
        ("f", "tab\t.txt", "f/tab_x0009_.txt"),
        ("f", "line\n\r", "f/line_x000A__x000D_"),
        ("f", "a\\b", "f/a_x005C_b"),
        ("f", "\udcff", "f/_xDCFF_"),
        ("f", "a\u202eb", "f/a_x202E_b"),
        ("f", "day=1%2F2", "f/day=1%2F2"),
        ("f", "a%2e%2e%2f%09", "f/a_x0025_2e_x0025_2e_x0025_2f_x0025_09"),
        ("f", "trailing. ", "f/trailing. "),
        ("f", "CON", "f/CON"),
    ],
)
def test_a_local_file_of_any_name_has_a_path(folder: str, name: str, path: str) -> None:
    assert paths.named(folder, name) == path


@given(st.text(min_size=1, max_size=30).filter(lambda name: "/" not in name and name not in {".", ".."}))
def test_no_name_of_a_local_file_is_refused_for_its_characters(name: str) -> None:
    assert taken(paths.named("", name))
    assert taken(paths.named("folder", name))
