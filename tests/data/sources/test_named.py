"""Corpora that are downloaded: once, verified, from a mirror if there is one, with a way out if it fails."""

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket

import pytest

from ostinato.data.sources.corpora import open_corpus
from ostinato.data.sources.named import LARGEST_DOWNLOAD, MUSIC, NAMED, Named, fetch
from ostinato.errors import SourceError
from ostinato.tasks.music.source import open_source

TEXT = b"a small corpus for the tests"


class Mirror(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        body = self.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    """A server on this machine, and OSTINATO_CORPORA_URL set to it."""
    handler = type("Handler", (Mirror,), {"files": {}, "requests": []})
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("OSTINATO_CORPORA_URL", f"http://127.0.0.1:{server.server_port}/texts/")
        yield handler
        server.shutdown()
        thread.join()


def small(data: bytes = TEXT) -> Named:
    return Named("small", "for the tests", "https://example.invalid/small", hashlib.sha256(data).hexdigest())


def files_in(folder) -> list:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_corpus_is_downloaded_once(mirror, cache):
    mirror.files["/texts/small.txt"] = TEXT
    assert fetch(small()) == fetch(small()) == cache / "corpora" / "small.txt"
    assert fetch(small()).read_bytes() == TEXT
    assert mirror.requests == ["/texts/small.txt"]


def test_a_damaged_download_is_replaced(mirror):
    mirror.files["/texts/small.txt"] = TEXT
    fetch(small()).write_bytes(TEXT[:-1])
    assert fetch(small()).read_bytes() == TEXT


def test_another_text_than_expected_is_refused_and_not_kept(mirror, cache):
    mirror.files["/texts/small.txt"] = b"something else"
    with pytest.raises(SourceError, match="is not the corpus 'small': its SHA-256"):
        fetch(small())
    assert files_in(cache) == []


def test_a_download_without_end_is_refused(mirror, cache):
    mirror.files["/texts/small.txt"] = bytes(LARGEST_DOWNLOAD + 1)
    with pytest.raises(SourceError, match="larger than"):
        fetch(small())
    assert files_in(cache) == []


def test_a_mirror_without_the_corpus_says_so(mirror):
    with pytest.raises(SourceError, match=r"could not download the corpus 'small' .*Not Found"):
        fetch(small())


@pytest.mark.parametrize("name", ["timemachine", "tinyshakespeare"])
def test_offline_it_says_why_and_how_to_go_on(name, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket() as unused:  # bound, and listening to nobody
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OSTINATO_CORPORA_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(SourceError, match=f"could not download the corpus '{name}' .*refused") as caught:
            open_corpus(name)
    assert "pass the path of a text file" in str(caught.value)
    assert f"a mirror that holds {name}.txt" in str(caught.value)


def test_a_mirror_that_is_no_address_says_so(monkeypatch):
    monkeypatch.setenv("OSTINATO_CORPORA_URL", "nowhere")
    with pytest.raises(SourceError, match="could not download"):
        fetch(small())


def test_a_set_of_piano_rolls_is_downloaded_under_its_own_ending(mirror, cache, monkeypatch):
    entry = replace(MUSIC["jsb"], sha256=hashlib.sha256(TEXT).hexdigest())
    with pytest.raises(SourceError, match=r"pass the path of a \.mat file.*a mirror that holds jsb\.mat"):
        fetch(entry)
    mirror.files["/texts/jsb.mat"] = TEXT
    monkeypatch.setitem(MUSIC, "jsb", entry)
    assert open_source("jsb").files == (cache / "corpora" / "jsb.mat",)
    assert open_source(open_source("jsb").describe()).given == "jsb"
    with pytest.raises(SourceError, match="did you mean 'jsb'"):
        open_source("jbs")


def test_every_named_corpus_has_its_line_and_a_downloaded_one_its_checksum():
    for name, entry in {**NAMED, **MUSIC}.items():
        assert entry.name == name
        assert entry.description
        assert entry.url is None or (entry.url.startswith("https://") and len(entry.sha256) == 64)


def test_a_downloaded_corpus_can_be_read_by_all_who_share_the_cache(mirror):
    mirror.files["/texts/small.txt"] = TEXT
    assert fetch(small()).stat().st_mode & 0o777 == 0o644
