"""A small server that speaks the Hub's HTTP protocol, so that the real client can be tested on this machine.

What it speaks, as `huggingface_hub` asks for it: create a repository, its info, preupload, LFS batch,
PUT and verify, commit, `resolve` with commit, ETag and size headers, redirects of large files to
another host, ranges, and refusals with the Hub's error codes. Faults are set per path.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

READER, WRITER, STRANGER = "hf_reader0123456789abcdef", "hf_writer0123456789abcdef", "hf_stranger0123456789abcd"
SIGNATURE = "X-Amz-Signature=5ec4e7"
_LARGE = (".safetensors", ".onnx")
_PIECE = 1 << 14


@dataclass
class Fault:
    """What goes wrong with requests whose method and path match `where`, `times` times.

    Attributes:
        status: Answer so instead.
        headers: Send these beside, or in place of the usual ones.
        cut: Close the line after so many bytes of a body.
        pause: Wait so many seconds before every piece of a body.
        endless: Go on sending after the end, without a length.
        flip: Change a byte of the body.
    """

    where: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    pause: float = 0
    endless: bool = False
    flip: bool = False


@dataclass
class Repo:
    """A repository: its commits, newest last, each a name-to-bytes map."""

    private: bool = False
    gated: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, files: dict[str, bytes]) -> str:
        """Add a commit with these files over the last one's."""
        tree = {**(self.commits[-1][1] if self.commits else {}), **files}
        listing = [f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in sorted(tree.items())]
        revision = hashlib.sha1("\n".join([str(len(self.commits)), *listing]).encode()).hexdigest()
        self.commits.append((revision, tree))
        return revision

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return a commit by its hash, or the last one as `main`."""
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


@dataclass
class Hub:
    """The server's state, and what was asked of it."""

    url: str = ""
    storage: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens_seen_by_storage: list[str] = field(default_factory=list)

    def offer(self, repo: str, files: dict[str, bytes], **options: bool) -> str:
        """Put files into a repository, made where missing; return the commit."""
        here = self.repos.setdefault(repo, Repo())
        for name, value in options.items():
            setattr(here, name, value)
        self.objects |= {hashlib.sha256(content).hexdigest(): content for content in files.values()}
        return here.commit(files)

    def fault(self, where: str, **what: Any) -> None:
        """Let something go wrong."""
        self.faults.append(Fault(where, **what))

    def count(self, where: str) -> int:
        """Return how many requests matched."""
        return sum(bool(re.search(where, line)) for line in self.asked)


class RefusalError(Exception):
    """A status with the Hub's error code."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status)
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    """Answers one request; `hub` is the state."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        # A client that goes through a proxy asks it for whole URLs.
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.asked = f"{self.command} {url.path}"
        beside = [f" via {url.netloc}"] if url.netloc else []
        beside += [f" {self.headers['Range']}"] if "Range" in self.headers else []
        self.hub.asked.append(self.asked + "".join(beside))
        self.fault = next((each for each in self.hub.faults if each.times and re.search(each.where, self.asked)), None)
        body = self._body()
        if self.fault is not None:
            self.fault.times -= 1
        try:
            if self.fault is not None and self.fault.status:
                raise RefusalError(self.fault.status, message="as the test wants it")
            for method, pattern, action in ROUTES:
                if re.fullmatch(method, self.command) and (match := re.fullmatch(pattern, url.path)):
                    action(self, body, *match.groups())
                    return
            raise RefusalError(404)
        except RefusalError as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._send(refusal.status, b'{"error": "refused"}', {k: v for k, v in headers.items() if v})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client had enough, as it should of an endless body

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    # --- what is allowed ---

    def _token(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if token not in (None, READER, WRITER, STRANGER):
            raise RefusalError(401, message="Invalid credentials in Authorization header")
        return token

    def _repo(self, name: str, *, write: bool = False, content: bool = False) -> Repo:
        token, repo = self._token(), self.hub.repos.get(name)
        if repo is None or (repo.private and token not in (READER, WRITER)):
            raise RefusalError(404 if token else 401, "RepoNotFound")
        if content and repo.gated and token not in (READER, WRITER):
            raise RefusalError(403 if token else 401, "GatedRepo")
        if write and token != WRITER:
            raise RefusalError(403 if token else 401, message="you may not write here")
        return repo

    # --- answers ---

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        fault = self.fault or Fault("")
        if fault.flip and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.send_response(status)
        length = {} if fault.endless else {"Content-Length": str(len(content))}
        for name, value in {**length, **(headers or {}), **fault.headers}.items():
            self.send_header(name, value)
        if fault.endless or fault.cut is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(content) if fault.cut is None else fault.cut
        for start in range(0, end, _PIECE):
            if fault.pause:
                threading.Event().wait(fault.pause)
            self.wfile.write(content[start : min(end, start + _PIECE)])
        while fault.endless:
            self.wfile.write(b"x" * _PIECE)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _create(self, body: bytes) -> None:
        wanted = json.loads(body)
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        if self._token() != WRITER:
            raise RefusalError(403 if self._token() else 401, message="you may not make repositories here")
        new = name not in self.hub.repos
        if new:
            private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            self.hub.offer(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        self._json({"url": f"{self.hub.url}/{name}"}, 200 if new else 409)

    def _info(self, _: bytes, name: str, revision: str | None = None) -> None:
        repo = self._repo(name)
        commit = repo.at(revision or "main")
        if commit is None:
            raise RefusalError(404, "RevisionNotFound")
        siblings = [{"rfilename": path} for path in commit[1]]
        self._json({"id": name, "sha": commit[0], "private": repo.private, "siblings": siblings, "tags": []})

    def _tree(self, _: bytes, name: str, revision: str) -> None:
        commit = self._repo(name).at(revision)
        if commit is None:
            raise RefusalError(404, "RevisionNotFound")
        self._json([
            {"type": "file", "path": path, "size": len(content), "oid": _git_oid(content)}
            for path, content in commit[1].items()
        ])  # fmt: skip

    def _validate(self, body: bytes) -> None:
        good = json.loads(body)["content"].startswith("---\n")
        self._json({"errors": [] if good else [{"message": "no metadata"}], "warnings": []}, 200 if good else 400)

    def _preupload(self, body: bytes, name: str, _: str) -> None:
        tree = self._repo(name, write=True).commits[-1][1]
        files = []
        for file in json.loads(body)["files"]:
            large, there = file["path"].endswith(_LARGE), tree.get(file["path"])
            oid = None if there is None else hashlib.sha256(there).hexdigest() if large else _git_oid(there)
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": files})

    def _lfs_batch(self, body: bytes, name: str) -> None:
        self._repo(name, write=True)
        objects = []
        for each in json.loads(body)["objects"]:
            upload = {"href": f"{self.hub.storage}/storage/{each['oid']}?{SIGNATURE}"}
            verify = {"href": f"{self.hub.url}/{name}.git/info/lfs/verify"}
            new = each["oid"] not in self.hub.objects
            objects.append({**each, **({"actions": {"upload": upload, "verify": verify}} if new else {})})
        self._json({"transfer": "basic", "objects": objects})

    def _lfs_verify(self, body: bytes, name: str) -> None:
        self._repo(name, write=True)
        wanted = json.loads(body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise RefusalError(422)
        self._json({})

    def _commit(self, body: bytes, name: str, _: str) -> None:
        repo = self._repo(name, write=True)
        files: dict[str, bytes] = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, repo.commits[-1][0]):
                raise RefusalError(412, message="the branch has moved")
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        revision = repo.commit(files)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{revision}", "commitOid": revision})

    def _resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        commit = self._repo(name, content=True).at(revision)
        if commit is None:
            raise RefusalError(404, "RevisionNotFound")
        if path not in commit[1]:
            raise RefusalError(404, "EntryNotFound")
        content = commit[1][path]
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit[0], "Accept-Ranges": "bytes"}
        if path.endswith(_LARGE):
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
            self._send(302, b"", {**headers, "Location": f"{self.hub.storage}/storage/{digest}?{SIGNATURE}"})
        else:
            self._ranged(content, {**headers, "ETag": f'"{_git_oid(content)}"'})

    def _storage(self, body: bytes, oid: str) -> None:
        """Speak as the host of large files does: by signed links, and no business of its own with tokens."""
        if token := self.headers.get("Authorization"):
            self.hub.tokens_seen_by_storage.append(token)
        if SIGNATURE.split("=")[0] not in self.query:
            raise RefusalError(403)
        if self.command == "PUT":
            if hashlib.sha256(body).hexdigest() != oid:
                raise RefusalError(400)
            self.hub.objects[oid] = body
            self._send(200, b"")
        else:
            self._ranged(self.hub.objects[oid], {})

    def _ranged(self, content: bytes, headers: dict[str, str]) -> None:
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(match[1])
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], {**headers, "Content-Range": span})
        else:
            self._send(200, content, headers)


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("POST", "/api/repos/create", Handler._create),
    ("POST", "/api/validate-yaml", Handler._validate),
    ("GET", f"/api/models/{_NAME}", Handler._info),
    ("GET", f"/api/models/{_NAME}/revision/([^/]+)", Handler._info),
    ("GET", f"/api/models/{_NAME}/tree/([^/]+)", Handler._tree),
    ("POST", f"/api/models/{_NAME}/preupload/([^/]+)", Handler._preupload),
    ("POST", f"/api/models/{_NAME}/commit/([^/]+)", Handler._commit),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", Handler._lfs_batch),
    ("POST", rf"/{_NAME}\.git/info/lfs/verify", Handler._lfs_verify),
    ("GET|HEAD", f"/{_NAME}/resolve/([^/]+)/(.+)", Handler._resolve),
    ("GET|HEAD|PUT", "/storage/([0-9a-f]{64})", Handler._storage),
)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub on a free port, and the storage of its large files as another host, which is another port."""
    hub = Hub()
    bound = type("Bound", (Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), bound) for _ in range(2)]
    hub.url, hub.storage = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
