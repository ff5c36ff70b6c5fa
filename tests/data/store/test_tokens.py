"""Tokens in the cache: found without reading the text, made again when it changed or they are damaged."""

import gzip
import hashlib
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ostinato.data.encoders.registry import ENCODERS, fit_encoder
from ostinato.data.sources.corpora import open_corpus, open_text, reopen
from ostinato.data.store.tokens import content_hash, prepare_tokens
from ostinato.errors import ConfigError, EncodingError, SourceError

TEXT = "the quick brown fox\njumps over the lazy dog\n" * 20


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    return path


def overwrite(path, text: str, *, keep_time: bool) -> None:
    """Another text of the same size; the modification time stays, or is later."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    later = before.st_mtime_ns + (0 if keep_time else 10**9)
    os.utime(path, ns=(before.st_atime_ns, later))


@pytest.mark.parametrize("name", ENCODERS)
def test_tokens_are_the_encoded_text(source, name):
    ids, encoder, content = prepare_tokens(open_corpus(source), name=name, vocabulary_size=300)
    assert encoder == fit_encoder(name, open_corpus(source), vocabulary_size=300)
    assert np.array_equal(ids, encoder.encode(TEXT))
    assert content == hashlib.sha256(TEXT.encode()).hexdigest()
    assert isinstance(ids, np.memmap)
    assert ids.dtype == encoder.dtype
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_strings_take_the_same_way(source):
    from_text, from_file = prepare_tokens(open_text(TEXT)), prepare_tokens(open_corpus(source))
    assert from_text.content == from_file.content
    assert from_text.ids.filename == from_file.ids.filename


def test_a_second_call_does_not_read_the_text(source):
    first = prepare_tokens(open_corpus(source), name="word")
    overwrite(source, TEXT.upper(), keep_time=True)  # as if unchanged, by path, size and time
    reads = []
    second = prepare_tokens(open_corpus(source), name="word", on_progress=lambda *at: reads.append(at))
    assert second.content == first.content
    assert second.encoder == first.encoder
    assert np.array_equal(second.ids, first.ids)
    assert reads == []


@pytest.mark.parametrize("name", ["char", "byte", "word"])  # bpe's memory is outside Python, and not traced
def test_memory_does_not_grow_with_the_text(tmp_path, name):
    def peak(copies: int) -> int:
        path = tmp_path / f"{copies}.txt"
        path.write_text(TEXT * copies)
        corpus = replace(open_corpus(path), chunk_bytes=1 << 16)
        tracemalloc.start()
        try:
            prepare_tokens(corpus, name=name)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    prepare_tokens(open_text(TEXT), name=name)  # what is imported or kept at the first use does not count
    more_text = len(TEXT) * (600 - 200)
    assert peak(600) - peak(200) < more_text / 10


def test_a_changed_file_is_read_again(source):
    first = prepare_tokens(open_corpus(source))
    overwrite(source, TEXT.upper(), keep_time=False)
    second = prepare_tokens(open_corpus(source))
    assert second.content != first.content
    assert second.encoder.decode(second.ids) == TEXT.upper()


def test_a_file_more_in_a_folder_is_a_change(source):
    first = content_hash(open_corpus(source.parent))
    (source.parent / "b.txt").write_text("more")
    assert (
        content_hash(open_corpus(source.parent))
        == hashlib.sha256((TEXT + "more").encode()).hexdigest()
        != first
    )


def test_the_content_hash_is_of_the_decompressed_text(source):
    packed = source.with_name("b.txt.gz")
    packed.write_bytes(gzip.compress(TEXT.encode()))
    assert (
        content_hash(open_corpus(packed))
        == content_hash(open_corpus(source))
        == content_hash(open_text(TEXT))
    )


def test_tokens_of_text_that_is_gone_are_still_found():
    corpus = open_text(TEXT)
    first = prepare_tokens(corpus)
    again = reopen(corpus.describe())
    assert np.array_equal(prepare_tokens(again).ids, first.ids)
    assert np.array_equal(prepare_tokens(again, encoder=first.encoder).ids, first.ids)
    with pytest.raises(SourceError, match="not kept"):
        prepare_tokens(again, name="word")


def damage(path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("spoil", [damage, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
@pytest.mark.parametrize("folder", ["index", "vocabularies", "tokens"])
def test_a_damaged_entry_is_made_again(source, cache, folder, spoil):
    first = np.array(prepare_tokens(open_corpus(source)).ids)
    (entry,) = (cache / folder).iterdir()
    good = entry.read_bytes()
    spoil(entry)
    assert np.array_equal(prepare_tokens(open_corpus(source)).ids, first)
    assert entry.read_bytes() == good


def test_tokens_with_something_after_their_end_are_made_again(source, cache):
    prepare_tokens(open_corpus(source))
    (entry,) = (cache / "tokens").iterdir()
    good = entry.read_bytes()
    entry.write_bytes(good + b"x")
    prepare_tokens(open_corpus(source))
    assert entry.read_bytes() == good


def test_the_options_of_the_fit_are_kept_apart(source):
    for options in ({}, {"normalize": "letters"}, {"name": "word"}, {"name": "word", "min_count": 21}):
        for _ in range(2):
            encoder = prepare_tokens(open_corpus(source), **options).encoder
            assert encoder == fit_encoder(**({"name": "char"} | options), corpus=open_corpus(source))


def test_a_given_encoder_encodes_other_texts_or_names_what_it_does_not_know():
    encoder = prepare_tokens(open_text(TEXT)).encoder
    assert encoder.decode(prepare_tokens(open_text("a dog"), encoder=encoder).ids) == "a dog"
    with pytest.raises(EncodingError, match=r"'!', 'A'"):
        prepare_tokens(open_text("A dog!"), encoder=encoder)
    with pytest.raises(ConfigError, match="nothing is fitted with min_count"):
        prepare_tokens(open_text(TEXT), encoder=encoder, min_count=2)


def test_progress_counts_the_bytes_of_every_pass(source):
    calls = []
    prepare_tokens(open_corpus(source), on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(len(TEXT), len(TEXT))] * 3


def test_text_that_changes_meanwhile_is_refused_and_not_kept(source, cache):
    def append(done, total):
        if done == len(TEXT):
            with source.open("a") as file:
                file.write("more")

    with pytest.raises(SourceError, match="changed while it was read"):
        prepare_tokens(open_corpus(source), on_progress=append)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_text_of_many_files_that_are_not_utf8_leaves_no_tokens(source, cache):
    (source.parent / "b.txt").write_bytes(b"\xc3\xa9\xff")
    with pytest.raises(SourceError, match=r"b.txt is not UTF-8 text: byte 0xff at offset 2 .*encoder='byte'"):
        prepare_tokens(open_corpus(source.parent))
    assert not (cache / "tokens").exists()
    assert len(prepare_tokens(open_corpus(source.parent), name="byte").ids) == len(TEXT) + 3


def test_processes_at_the_same_work_do_not_disturb_each_other(source, cache):
    program = (
        "import sys; from ostinato.data.sources import corpora; from ostinato.data.store import tokens;"
        "print(int(tokens.prepare_tokens(corpora.open_corpus(sys.argv[1])).ids.sum()))"
    )
    command = [sys.executable, "-c", program, source]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    expected = f"{prepare_tokens(open_corpus(source)).ids.sum()}\n"
    assert [process.communicate()[0] for process in processes] == [expected] * 3
    assert len(list((cache / "tokens").iterdir())) == 1
