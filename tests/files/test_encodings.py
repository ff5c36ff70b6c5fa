"""The encoding of a file: what its bytes say."""

import pytest

from ostinato.errors import ConfigError, SourceError
from ostinato.files.encodings import Recognised, checked, recognise_blocks
from ostinato.files.lines import read_lines, read_whole

TEXTS = {
    "cp1252": "Schöne Grüße aus München,gut\nDas kostet £5 – “zu viel”,schlecht\n",
    "cp1251": "Привет как дела,pos\nОчень плохой фильм,neg\n",
    "koi8-r": "Привет как дела,pos\nОчень плохой фильм,neg\n",
    "gb18030": "今天天气很好,pos\n这部电影很难看,neg\n",
    "big5": "今天天氣很好,pos\n這部電影很難看,neg\n",
    "cp932": "今日はいい天気です,pos\nこの映画はつまらない,neg\n",
    "cp949": "오늘 날씨가 좋다,pos\n이 영화는 재미없다,neg\n",
    "cp1250": "Zażółć gęślą jaźń dobry film,pos\nTo był zły film o miłości,neg\n",
    "cp1253": "Καλημέρα τι κάνεις,pos\nκακή ταινία πολύ,neg\n",
    "cp1256": "مرحبا كيف حالك اليوم,pos\nفيلم سيء جدا,neg\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_encodings_of_the_world_are_recognised_and_said(encoding):
    found = recognise_blocks([TEXTS[encoding].encode(encoding)], "a.csv")
    assert found == Recognised(encoding, f"a.csv: read as {encoding}; give another with encoding=")


@pytest.mark.parametrize("encoding", TEXTS)
def test_unicode_is_recognised_with_and_without_a_byte_order_mark(encoding):
    text = TEXTS[encoding]
    for name in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert recognise_blocks([text.encode(name)], "").encoding == name.removesuffix("-sig")
    for name in ("utf-16-le", "utf-16-be"):
        assert recognise_blocks([text.encode(name)], "").encoding == name


def test_a_few_broken_bytes_leave_utf8_what_it_is():
    text = TEXTS["gb18030"].encode()
    assert recognise_blocks([text + b"\xff\xfe" + text], "") == Recognised("utf-8")
    assert recognise_blocks([b"plain", b" text"], "") == Recognised("utf-8")
    assert recognise_blocks([], "") == Recognised("utf-8")


def test_a_character_that_two_blocks_share_is_one():
    data = "é".encode() * 10
    assert recognise_blocks([data[:7], data[7:]], "").encoding == "utf-8"


def test_a_single_byte_late_in_a_file_is_found():
    blocks = [b"a plain line, and more\n" * 1000] * 50 + ["café\n".encode("cp1252")]
    assert recognise_blocks(blocks, "").encoding == "cp1252"


def test_names_of_encodings_are_checked():
    assert [checked(name) for name in ("UTF8", "latin-1", "utf-8-sig", "GBK")] == [
        *("utf-8", "iso8859-1", "utf-8", "gbk")
    ]
    for wrong in ("nope", "rot13", "hex", ""):
        with pytest.raises(ConfigError, match="encoding must be one that Python knows"):
            checked(wrong)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp1252"])
def test_lines_have_neither_marks_nor_other_ends_in_any_encoding(tmp_path, encoding):
    mark = "" if encoding in ("cp1252", "utf-16") else "\ufeff"
    path = tmp_path / "a.txt"
    path.write_bytes(f"{mark}é one\r\n{mark}two\n".encode(encoding))
    assert list(read_lines(path, "a.txt", encoding=encoding)) == ["é one\r\n", "two\n"]
    assert read_whole(path, encoding).startswith("é one")


@pytest.mark.parametrize(
    ("encoding", "data", "says"),
    [
        ("utf-8", b"a\ncaf\xe9\n", "line 2 is not UTF-8: byte 0xe9 at character 4"),
        ("cp1252", b"a\nb\x81\n", "line 2 is not cp1252: byte 0x81 at character 2"),
        ("gb18030", b"a\nb\xff\n", "line 2 is not gb18030: byte 0xff at character 2"),
        ("utf-16-le", "a\nb\n".encode("utf-16-le") + b"\x00\xd8", "is not UTF-16-LE: byte 0x00"),
    ],
)
def test_bytes_of_another_encoding_are_told_by_line(tmp_path, encoding, data, says):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        list(read_lines(path, "a.txt", encoding=encoding))
    assert says in str(caught.value)
    assert "encoding=" in str(caught.value)
