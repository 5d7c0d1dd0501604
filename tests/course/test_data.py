import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bestpapers.course import data

CONTENT = bytes(i * 7 % 251 for i in range(100_000))
OTHER = CONTENT[::-1]


def sha(content):
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """A file server whose faults are set by the path's entry in `server.files`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        entry = self.server.files.get(self.path)
        if isinstance(entry, int) or entry is None:
            return self.send_error(entry or 404)
        content, start, etag = entry["content"], 0, entry.get("etag")
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        stale = self.headers.get("If-Range") not in (None, etag)
        if asked and entry.get("ranges", True) and not stale:
            start = int(asked[1])
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", entry.get("range") or f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if etag:
            self.send_header("ETag", etag)
        if "encoding" in entry:
            self.send_header("Content-Encoding", entry["encoding"])
        if entry.get("length", True):
            self.send_header("Content-Length", str(len(content) - start))
        else:
            self.close_connection = True
        self.end_headers()
        cuts = entry.get("cuts")  # positions at which connections end, one after the other
        end = cuts.pop(0) if cuts else len(content)
        self.wfile.write(content[start:end])
        self.wfile.flush()
        if end < len(content):
            if "stall" in entry:
                entry["stall"].wait(30)
            self.close_connection = True
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.files, http.requests = {}, []
        http.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "PAUSE", 0.0)
    monkeypatch.setattr(data, "CHUNK", 10_000)


def declare(server, *paths, content=CONTENT, **change):
    urls = tuple(path if "://" in path else server.url + path for path in paths or ("/a",))
    given = {"name": "scene/a.bin", "urls": urls, "size": len(content), "sha256": sha(content), "licence": "CC0"}
    return data.Download(**given | change)


def ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


def leftovers(path):
    return sorted(p.name for p in path.parent.iterdir() if p != path and not p.name.endswith(".lock"))


def keep_part(file, content, url=None, validator=""):
    """Lay down what an interrupted download leaves."""
    part = data.cache_dir() / f"{file.name}.{file.sha256[:8]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    if url:
        part.with_name(part.name + ".json").write_text(json.dumps({"url": url, "validator": validator}))
    return part


def test_a_file_arrives_whole_and_is_not_fetched_again(server, tmp_path, capsys):
    server.files["/a"] = {"content": CONTENT}
    file = declare(server, source="https://example.org/about")
    path = data.fetch(file)
    assert path == tmp_path / "cache" / "scene" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert leftovers(path) == []
    assert capsys.readouterr().out == "scene/a.bin: 100.0 kB, licence: CC0, see https://example.org/about\n"
    assert data.fetch(file) == path
    assert len(server.requests) == 1
    assert capsys.readouterr().out == ""


def test_another_folder_can_be_named(server, tmp_path):
    server.files["/a"] = {"content": CONTENT}
    assert data.fetch(declare(server), tmp_path / "here") == tmp_path / "here" / "scene" / "a.bin"


def test_a_spoilt_cached_file_is_noticed_and_replaced(server):
    server.files["/a"] = {"content": CONTENT}
    path = data.fetch(declare(server))
    path.write_bytes(OTHER)
    assert data.fetch(declare(server)).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_spoilt_cached_file_stays_when_nothing_better_arrives(server):
    server.files["/a"] = {"content": CONTENT}
    path = data.fetch(declare(server))
    path.write_bytes(OTHER)
    server.files["/a"] = 404
    with pytest.raises(data.DownloadError):
        data.fetch(declare(server))
    assert path.read_bytes() == OTHER


@pytest.mark.parametrize("length", [True, False])
def test_cut_connections_are_resumed_where_they_ended(server, length):
    server.files["/a"] = {"content": CONTENT, "etag": '"v1"', "cuts": [30_000, 70_000], "length": length}
    assert data.fetch(declare(server)).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=30000-", "bytes=70000-"]
    assert [headers.get("If-Range") for _, headers in server.requests] == [None, '"v1"', '"v1"']


def test_many_cuts_are_survived_as_long_as_bytes_come(server):
    server.files["/a"] = {"content": CONTENT, "cuts": list(range(10_000, 100_000, 10_000))}
    assert data.fetch(declare(server)).read_bytes() == CONTENT
    assert len(server.requests) == 10


def test_a_server_without_ranges_starts_anew(server):
    server.files["/a"] = {"content": CONTENT, "ranges": False, "cuts": [30_000]}
    assert data.fetch(declare(server)).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=30000-"]


def test_another_mirror_goes_on_with_the_bytes_of_the_first(server):
    server.files["/a"] = {"content": CONTENT, "etag": '"a"', "cuts": [30_000] + [30_001] * 9}
    server.files["/b"] = {"content": CONTENT, "etag": '"b"'}
    assert data.fetch(declare(server, "/a", "/b")).read_bytes() == CONTENT
    path, headers = server.requests[-1]
    assert (path, headers["Range"]) == ("/b", "bytes=30001-")
    assert "If-Range" not in headers


def test_a_file_that_changed_on_the_server_is_not_joined_to_old_bytes(server):
    file = declare(server)
    keep_part(file, OTHER[:40_000], file.urls[0], '"old"')
    server.files["/a"] = {"content": CONTENT, "etag": '"new"'}
    assert data.fetch(file).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_wrong_old_bytes_cost_one_more_download(server):
    file = declare(server)
    keep_part(file, OTHER[:40_000])
    server.files["/a"] = {"content": CONTENT}
    assert data.fetch(file).read_bytes() == CONTENT
    assert ranges(server) == ["bytes=40000-", None]


@pytest.mark.parametrize("kept", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_full_is_checked_and_one_that_is_longer_dropped(server, kept):
    file = declare(server)
    keep_part(file, (CONTENT + b"extra")[:kept])
    server.files["/a"] = {"content": CONTENT}
    assert data.fetch(file).read_bytes() == CONTENT
    assert ranges(server) == ([] if kept == len(CONTENT) else [None])


def test_a_torn_note_on_the_part_does_no_harm(server):
    file = declare(server)
    part = keep_part(file, CONTENT[:40_000])
    part.with_name(part.name + ".json").write_text('{"url": "ht')
    server.files["/a"] = {"content": CONTENT}
    assert data.fetch(file).read_bytes() == CONTENT
    assert ranges(server) == ["bytes=40000-"]


def test_a_wrong_hash_removes_the_file_and_names_both(server, tmp_path):
    server.files["/a"] = {"content": OTHER}
    with pytest.raises(
        data.DownloadError, match=f"expected SHA-256 {sha(CONTENT)}, found {sha(OTHER)}; the file was removed"
    ):
        data.fetch(declare(server))
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix in (".bin", ".part")]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"content": CONTENT[:-1]}, "wrong size: expected 100000 bytes, the server offers 99999"),
        ({"content": CONTENT + b"!"}, "wrong size: expected 100000 bytes, the server offers 100001"),
        ({"content": CONTENT + b"!", "length": False}, "wrong size: expected 100000 bytes, the server sends more"),
        ({"content": CONTENT[:-1], "length": False}, "the connection ended after 99999 of 100000 bytes"),
        ({"content": CONTENT, "encoding": "gzip"}, r"sends the file packed \(gzip\)"),
        (404, "HTTP 404 Not Found"),
        (403, "HTTP 403 Forbidden"),
        (503, "HTTP 503 Service Unavailable"),
    ],
)
def test_a_mirror_that_fails_is_left_for_the_next(server, entry, message):
    server.files["/bad"], server.files["/good"] = entry, {"content": CONTENT}
    with pytest.raises(data.DownloadError, match=rf"the download failed\.\n  {server.url}/bad: {message}"):
        data.fetch(declare(server, "/bad"))
    shutil.rmtree(data.cache_dir())
    assert data.fetch(declare(server, "/bad", "/good")).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (503, 3), (429, 3)])
def test_only_passing_faults_are_tried_again(server, status, tries):
    server.files["/a"] = status
    with pytest.raises(data.DownloadError):
        data.fetch(declare(server))
    assert len(server.requests) == tries


@pytest.mark.parametrize(
    "answer", ["bytes 0-99999/100000", "bytes 50000-99999/100000", "bytes 40000-99999/99", "items 1"]
)
def test_an_answer_with_another_range_is_refused(server, answer):
    file = declare(server)
    part = keep_part(file, CONTENT[:40_000])
    server.files["/a"] = {"content": CONTENT, "range": answer}
    with pytest.raises(data.DownloadError, match=r"asked for the bytes from 40000 on|wrong size"):
        data.fetch(file)
    assert part.read_bytes() == CONTENT[:40_000]


def test_without_a_network_the_message_says_what_to_do(server, tmp_path):
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        file = declare(server, f"http://127.0.0.1:{taken.getsockname()[1]}/x")
        with pytest.raises(data.DownloadError, match=r"no mirror answers; is this machine offline\?") as caught:
            data.fetch(file)
    message = str(caught.value)
    assert f"by hand: {tmp_path / 'cache' / 'scene' / 'a.bin'} (100000 bytes, SHA-256 {file.sha256})" in message
    assert file.urls[0] in message


def test_a_file_put_there_by_hand_is_taken(server):
    file = declare(server)
    target = data.cache_dir() / file.name
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert data.fetch(file) == target
    assert not server.requests


def test_a_full_disk_is_noticed_first(server, monkeypatch):
    server.files["/a"] = {"content": CONTENT}
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(data.shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 60_000, 60_000))
    with pytest.raises(data.DownloadError, match=r"needs 100\.0 kB more, but .* has 60\.0 kB free; .*BESTPAPERS_CACHE"):
        data.fetch(declare(server))
    assert not server.requests
    shutil.rmtree(data.cache_dir())
    keep_part(declare(server), CONTENT[:50_000])  # what is there already is not needed again
    assert data.fetch(declare(server)).read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process")
def test_ctrl_c_leaves_what_the_next_call_goes_on_with(server, tmp_path):
    stall = threading.Event()
    server.files["/a"] = {"content": CONTENT, "etag": '"v1"', "cuts": [60_000], "stall": stall}
    file = declare(server)
    # a shell that starts the tests in the background makes its children deaf to Ctrl-C
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hear}\nfrom bestpapers.course.data import *\nfetch({file!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=dict(os.environ), text=True)
    part = data.cache_dir() / f"scene/a.bin.{file.sha256[:8]}.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    stall.set()
    assert part.read_bytes() == CONTENT[:60_000]
    assert not (data.cache_dir() / file.name).exists()
    assert data.fetch(file).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=60000-"]


def test_two_processes_download_once(server):
    server.files["/a"] = {"content": CONTENT}
    file = declare(server)
    code = textwrap.dedent(f"""
        import threading
        from bestpapers.course.data import *
        threads = [threading.Thread(target=fetch, args=({file!r},)) for _ in range(4)]
        [t.start() for t in threads]; [t.join() for t in threads]
    """)
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert len(server.requests) == 1
    assert (data.cache_dir() / file.name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../../b", "/etc/x", "a//b", "", ".", "..", ".hidden", "a/.b", "C:\\x", "a\\..\\b", "C:/x", "a.", "a\0b", "a b",
     "~/x", "x\n"],
)  # fmt: skip
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(ValueError, match="is not a plain path below the cache folder"):
        data.Download(name, ("https://example.org/x",), 1, "0" * 64, "MIT")


@pytest.mark.parametrize("name", ["a", "a.tar.gz", "splatting/garden-4_v1.ply", "0.1/x"])
def test_plain_names_are_taken(name):
    assert data.Download(name, ("https://example.org/x",), 1, "0" * 64, "MIT").name == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"urls": ()}, "urls must be a tuple of at least one address"),
        ({"urls": "https://example.org"}, "urls must be a tuple"),
        ({"urls": ("file:///etc/passwd",)}, "is not an http or https address"),
        ({"urls": ("https:///x",)}, "is not an http"),
        ({"size": 0}, "size must be a positive number of bytes, got 0"),
        ({"size": 1.5}, "size"),
        ({"sha256": "0" * 63}, "sha256 must be 64"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"licence": " "}, "licence is missing"),
    ],
)
def test_bad_declarations_name_the_field(change, message):
    given = {"name": "a", "urls": ("https://example.org/x",), "size": 1, "sha256": "0" * 64, "licence": "MIT"}
    with pytest.raises(ValueError, match=message):
        data.Download(**given | change)


@pytest.mark.parametrize(
    ("platform", "variable", "want"),
    [
        ("linux", "XDG_CACHE_HOME", "bestpapers"),
        ("win32", "LOCALAPPDATA", "bestpapers"),
        ("darwin", "HOME", "Library/Caches/bestpapers"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, tmp_path, platform, variable, want):
    monkeypatch.delenv("BESTPAPERS_CACHE")
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(data.sys, "platform", platform)
    assert data.cache_dir() == tmp_path / want
