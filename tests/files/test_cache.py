"""The cache folder: where it is, and that a file appears in it complete or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

import ostinato
from ostinato.errors import SourceError
from ostinato.files import cache as caching


def test_the_folder_is_the_one_asked_for_or_the_platforms(cache, monkeypatch):
    assert caching.folder() == cache
    monkeypatch.delenv("OSTINATO_CACHE")
    assert caching.folder() == platformdirs.user_cache_path("ostinato")


def test_a_write_that_does_not_finish_leaves_the_old_file_and_nothing_else(cache):
    path = cache / "some" / "file"
    with caching.writing(path) as file:
        file.write(b"old")

    def interrupted() -> None:
        with caching.writing(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_a_file_is_safe_before_it_takes_its_place(cache, disk):
    for content in (b"old", b"a newer one"):
        with caching.writing(cache / "file") as file:
            file.write(content)
    caching.write_json(cache / "a.json", {"a": 1})
    assert disk.renamed == [cache / "file", cache / "file", cache / "a.json"]
    assert disk.too_early == []
    assert disk.owed == []


def test_a_cache_below_a_file_cannot_be_written_and_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SourceError, match=r"cannot write to the cache .*file/cache .*set OSTINATO_CACHE"):
        caching.write_json(caching.folder() / "a.json", {})
    with pytest.raises(SourceError, match="set OSTINATO_CACHE"):
        caching.temporary_file()


def test_a_full_disk_is_called_so(cache):
    with pytest.raises(SourceError, match=r"is full; free some space, or set OSTINATO_CACHE"):
        raise caching.unwritable(OSError(28, "No space left on device"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_damaged_json_counts_as_none(cache, content):
    (cache / "a.json").write_bytes(content)
    assert caching.read_json(cache / "a.json") is None


def test_what_a_killed_process_left_a_day_ago_is_removed(cache):
    for name, age in (("old.partial", caching.STALE_SECONDS + 60), ("new.partial", 0), ("old.npy", 10**6)):
        (cache / name).touch()
        then = (cache / name).stat().st_mtime - age
        os.utime(cache / name, (then, then))
    caching.write_json(cache / "a.json", {})
    assert sorted(os.listdir(cache)) == ["a.json", "new.partial", "old.npy"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_tokens_that_cannot_be_written_to_the_end_leave_nothing(cache, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("some text\n" * 10_000)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from ostinato.data.sources import corpora; from ostinato.data.store import tokens;"
        "from ostinato.errors import SourceError\n"
        "try: tokens.prepare_tokens(corpora.open_corpus(sys.argv[1]))\n"
        "except SourceError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, source], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(f"cannot write to the cache {cache}")
    assert list((cache / "tokens").iterdir()) == []


def test_nothing_in_files_or_data_imports_tensorflow_or_tokenizers():
    package = Path(ostinato.__file__).parent
    files = [path for room in ("files", "data") for path in sorted((package / room).rglob("*.py"))]
    names = [".".join(("ostinato", *path.relative_to(package).with_suffix("").parts)) for path in files]
    program = f"import sys, {', '.join(names)}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "tokenizers"} & set(result.stdout.split())
