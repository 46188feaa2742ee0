"""Fields that this release does not know are found wherever they are."""

from __future__ import annotations

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from modelry_server.kernel.requests.unknown import unknown_fields

LATER = Value.FromString(b"\xa2\x1f\x05later")


def test_they_are_found_in_a_message_in_lists_and_in_maps() -> None:
    known = Value(list_value=ListValue(values=[Value(bool_value=True), LATER]))
    message = Struct(fields={"a": known, "b": LATER, "c": Value(string_value="c")})

    assert list(unknown_fields(LATER)) == ["500"]
    assert sorted(unknown_fields(message)) == ["fields['a'].list_value.values[1].500", "fields['b'].500"]


def test_a_message_of_this_release_has_none() -> None:
    assert list(unknown_fields(Struct(fields={"a": Value(string_value="a")}))) == []
