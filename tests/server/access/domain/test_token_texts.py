"""The form of the texts of tokens."""

import re
import zlib

import pytest

from modelry_server.access.domain.token_texts import TextKind, digest_of, kind_of, new_text

TEXT = "mdy_t_" + "0" * 30


@pytest.mark.parametrize("kind", TextKind)
def test_a_new_text_has_the_form_that_scanners_know_and_its_kind(kind: TextKind) -> None:
    text = new_text(kind)

    assert re.fullmatch(r"mdy_[a-z]_[0-9A-Za-z]{36}", text)
    assert kind_of(text) is kind


def test_the_checksum_is_the_crc_in_base_62() -> None:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text = new_text(TextKind.API_TOKEN)

    value = 0
    for digit in text[-6:]:
        value = value * 62 + digits.index(digit)
    assert value == zlib.crc32(text[:-6].encode())


def test_no_two_texts_and_no_two_digests_are_alike() -> None:
    texts = {new_text(TextKind.API_TOKEN) for _ in range(1000)}

    assert len(texts) == len({digest_of(text) for text in texts}) == 1000


def test_what_is_cut_doubled_or_changed_has_no_form() -> None:
    text = new_text(TextKind.API_TOKEN)
    other = "1" if text[10] != "1" else "2"
    wrong = [
        *(text[:-1], text + text, text + "\n", f" {text}", text.upper(), text.replace("mdy_t_", "mdy_b_")),
        *(text[:10] + other + text[11:], text.replace("mdy_t_", "mdy_x_"), "", "x" * (1 << 20), TEXT + "\u0660" * 6),
    ]

    assert [kind_of(each) for each in wrong] == [None] * len(wrong)
