"""Files are local, whole and checked before a runtime sees them; only `prefetch` reaches the Hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from distilled_filters import checkpoints
from distilled_filters.errors import CheckpointError, ChecksumError, MissingFileError, SpecError
from distilled_filters.filter import Filter
from distilled_filters.scorers import head as head_module
from distilled_filters.scorers import onnx
from distilled_filters.spec import FileRef, HubSource, read_filter_spec
from tests.conftest import FILTERS, SHIPPED, SNIPPET, House, edited, file_ref, flip_byte, run_python

REVISION = "0123456789abcdef0123456789abcdef01234567"
SECRET = b"twelve bytes"


def reference(content: bytes = SECRET, path: str = "head.safetensors") -> FileRef:
    return FileRef(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no runtime open a file, and no backbone be open already."""

    def refuse(name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: pytest.fail(f"{name} was reached before the digest was checked")

    monkeypatch.setattr(onnx, "_open", {})
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse("InferenceSession"))
    monkeypatch.setattr(onnx, "Tokenizer", type("Tokenizer", (), {"from_file": staticmethod(refuse("Tokenizer"))}))
    monkeypatch.setattr(head_module, "load_file", refuse("load_file"))
    monkeypatch.setattr("distilled_filters.scorers.base.read_calibration", refuse("read_calibration"))
    monkeypatch.setattr("distilled_filters.scorers.base.read_percentiles", refuse("read_percentiles"))


def test_the_digest_is_the_file_s_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(SECRET)
    assert checkpoints.sha256_of(path) == hashlib.sha256(SECRET).hexdigest()


def test_a_whole_file_is_located(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(SECRET)
    assert checkpoints.locate(reference(), tmp_path, None, "tiny==1.0.0") == tmp_path / "head.safetensors"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"twelve Bytes", "SHA-256"),
        (b"twelve bytes.", "has 13 bytes, the spec says 12"),
        (b"", "has 0 bytes, the spec says 12"),
    ],
)
def test_ac04_other_bytes_are_refused_with_owner_and_file(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "head.safetensors").write_bytes(content)
    with pytest.raises(ChecksumError, match=said) as caught:
        checkpoints.locate(reference(), tmp_path, None, "tiny==1.0.0")
    assert "tiny==1.0.0" in str(caught.value)
    assert "head.safetensors" in str(caught.value)


def test_a_missing_embedded_file_asks_for_a_reinstall(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"tiny==1\.0\.0: head\.safetensors is not in .*reinstall") as caught:
        checkpoints.locate(reference(), tmp_path, None, "tiny==1.0.0")
    assert isinstance(caught.value, FileNotFoundError)
    (tmp_path / "head.safetensors").mkdir()
    with pytest.raises(MissingFileError):
        checkpoints.locate(reference(), tmp_path, None, "tiny==1.0.0")


@pytest.mark.parametrize("name", ["head.safetensors", "calibration.json", "percentiles.json"])
@pytest.mark.parametrize(
    "damage", [flip_byte, lambda path: path.write_bytes(path.read_bytes()[:-1])], ids=["flip", "cut"]
)
def test_ac04_a_damaged_filter_file_is_refused_before_anything_opens_it(
    house: House, no_runtime: None, name: str, damage: Callable[[Path], Any]
) -> None:
    folder = house.add()
    damage(folder / name)
    with pytest.raises(ChecksumError, match=f"uplifting==1.0.0: .*{name}"):
        Filter(folder).load()


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_ac04_a_flipped_byte_in_the_backbone_is_refused_before_anything_opens_it(
    house: House, no_runtime: None, name: str
) -> None:
    folder, backbone = house.add(), house.own_backbone()
    content = (backbone / name).read_bytes()
    (backbone / name).unlink()
    (backbone / name).write_bytes(content)
    flip_byte(backbone / name)
    with pytest.raises(ChecksumError, match=name):
        Filter(folder).load()


def test_ac04_another_backbone_than_the_head_was_trained_on_is_refused(house: House, no_runtime: None) -> None:
    folder = house.add()
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["backbone_sha256"] = "0" * 64
    with pytest.raises(CheckpointError, match=r"trained on 000000000000\.\.\.; install the filter and its backbone"):
        Filter(folder).load()


@pytest.mark.parametrize("revision", ["main", "v1.0", "0123456", REVISION.upper(), REVISION + "0", ""])
def test_ac04_a_hub_file_without_a_full_revision_is_refused(house: House, revision: str) -> None:
    folder = house.add()
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["hub"] = {"repo": "example/uplifting", "revision": revision}
    with pytest.raises(SpecError, match=r"filter\.toml: .*hub\.revision"):
        Filter(folder)


@pytest.mark.parametrize("name", SHIPPED)
def test_ac17_checkpoints_are_onnx_safetensors_and_json(name: str) -> None:
    folder = FILTERS / name / "v1"
    for entry in read_filter_spec(folder / "filter.toml").checkpoints.values():
        assert {Path(ref.path).suffix for ref in entry.files} == {".safetensors", ".json"}
    allowed = {".toml", ".md", ".safetensors", ".json", ".jsonl", ".onnx"}
    strangers = [path for path in FILTERS.rglob("*") if path.is_file() and path.suffix not in allowed]
    assert strangers == []


@dataclass
class Hub:
    """A server that speaks the Hub's `resolve` protocol, and what was asked of it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    asked: list[str] = field(default_factory=list)

    def offer(self, repo: str, *paths: Path) -> None:
        """Offer files of a repository at the one revision."""
        self.files |= {f"/{repo}/resolve/{REVISION}/{path.name}": path.read_bytes() for path in paths}

    def tamper(self, name: str) -> None:
        """Flip a byte of one file."""
        (path,) = (path for path in self.files if path.endswith(f"/{name}"))
        content = bytearray(self.files[path])
        content[len(content) // 2] ^= 1
        self.files[path] = bytes(content)


@pytest.fixture
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, *, body: bool) -> None:
            state.asked.append(f"{self.command} {self.path}")
            content = state.files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            else:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", REVISION)
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if body and content:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


# Does as asked with a filter folder and prints, as JSON, how it ended and after how many seconds.
USE = f"""
import json, sys, time
from distilled_filters.filter import Filter
filter = Filter(sys.argv[1])
if "cold" in sys.argv:
    import huggingface_hub  # its import is not what is timed
start, answer = time.perf_counter(), {{"class": None, "message": None, "files": None, "status": None}}
try:
    if "prefetch" in sys.argv:
        answer["files"] = [str(path) for path in filter.prefetch()]
    else:
        answer["status"] = filter.score({SNIPPET!r}).status
except Exception as error:
    answer |= {{"class": type(error).__name__, "message": str(error)}}
print(json.dumps(answer | {{"seconds": time.perf_counter() - start}}))
"""


@dataclass
class Consumer:
    """One filter whose weights lie on the Hub, one cache, and fresh processes that use both."""

    folder: Path
    backbone: Path
    home: Path
    hub: Hub

    def use(self, what: str, **environment: str) -> dict[str, Any]:
        """Score or prefetch in a fresh process."""
        settings = {"HF_HOME": str(self.home), "HF_ENDPOINT": self.hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
        answer: dict[str, Any] = json.loads(run_python(USE, self.folder, what, environment={**settings, **environment}))
        return answer

    def cached(self) -> set[str]:
        """The names of the files in the cache."""
        return {path.name for path in self.home.rglob("snapshots/*/*")}


@pytest.fixture
def consumer(house: House, hub: Hub, tmp_path: Path) -> Consumer:
    """A filter with the head on the Hub; the backbone is embedded until `share_backbone` moves it."""
    folder = house.add()
    parts = [folder / name for name in ("head.safetensors", "calibration.json", "percentiles.json")]
    hub.offer("example/uplifting", *parts)
    for part in parts:
        part.unlink()
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["hub"] = {"repo": "example/uplifting", "revision": REVISION}
    return Consumer(folder, house.own_backbone(), tmp_path / "home", hub)


def share_backbone(consumer: Consumer) -> None:
    """Move the backbone to the Hub too."""
    parts = [consumer.backbone / name for name in ("model.onnx", "tokenizer.json")]
    consumer.hub.offer("example/me5-small", *parts)
    for part in parts:
        part.unlink()
    with edited(consumer.backbone / "backbone.toml") as spec:
        spec["hub"] = {"repo": "example/me5-small", "revision": REVISION}


def test_ac02_ac03_prefetch_brings_all_that_a_later_load_needs(consumer: Consumer) -> None:
    share_backbone(consumer)
    brought = consumer.use("prefetch")
    assert brought["class"] is None, brought
    names = {"head.safetensors", "calibration.json", "percentiles.json", "model.onnx", "tokenizer.json"}
    assert {Path(path).name for path in brought["files"]} == names == consumer.cached()
    assert all(f"/resolve/{REVISION}/" in line for line in consumer.hub.asked)
    consumer.hub.asked.clear()
    assert consumer.use("score")["status"] == "ok"
    assert consumer.hub.asked == [], "a load with a warm cache asked the Hub"
    offline = consumer.use("score", HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert offline["status"] == "ok", offline


def test_ac02_ac03_a_cold_cache_fails_fast_and_says_what_to_do(consumer: Consumer) -> None:
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
        cold = consumer.use("cold", **environment)
        assert cold["class"] == "MissingFileError"
        assert cold["seconds"] < 1
        for part in ("uplifting==1.0.0", "head.safetensors", "`distillery prefetch uplifting==1.0.0`"):
            assert part in cold["message"]
    assert consumer.hub.asked == [], "score() started a download"


def test_ac02_a_cold_backbone_names_the_filter_that_needs_it(consumer: Consumer, house: House) -> None:
    """The usual case: a small embedded head over a large backbone on the Hub."""
    share_backbone(consumer)
    shutil.rmtree(consumer.folder)
    house.add()
    cold = consumer.use("cold")
    assert cold["class"] == "MissingFileError"
    for part in ("model.onnx", "`distillery prefetch uplifting==1.0.0`"):
        assert part in cold["message"]
    assert consumer.hub.asked == []


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_ac04_tampered_bytes_from_the_hub_are_refused_and_not_kept(consumer: Consumer, damage: str) -> None:
    good = dict(consumer.hub.files)
    if damage == "flip":
        consumer.hub.tamper("calibration.json")
    else:
        (path,) = (path for path in good if path.endswith("/calibration.json"))
        consumer.hub.files[path] = good[path][:-1]
    refused = consumer.use("prefetch")
    assert refused["class"] == "ChecksumError"
    assert "calibration.json" in refused["message"]
    assert "calibration.json" not in consumer.cached()
    if damage == "cut":
        return
    assert consumer.use("score")["class"] == "MissingFileError"
    consumer.hub.files = good
    assert consumer.use("prefetch")["class"] is None
    assert consumer.use("score")["status"] == "ok"


def test_ac04_a_cache_damaged_later_is_refused_at_load(consumer: Consumer) -> None:
    assert consumer.use("prefetch")["class"] is None
    (head,) = consumer.home.rglob("snapshots/*/head.safetensors")
    flip_byte(head.resolve())
    refused = consumer.use("score")
    assert refused["class"] == "ChecksumError"
    assert "head.safetensors" in refused["message"]


# The Hub's client tries an unreachable server again for half a minute.
@pytest.mark.parametrize("trouble", ["lacking", "offline", pytest.param("unreachable", marks=pytest.mark.stress)])
def test_ac03_a_prefetch_that_fails_says_what_of_whom(consumer: Consumer, trouble: str) -> None:
    environment = {}
    if trouble == "lacking":
        consumer.hub.files.clear()
    elif trouble == "unreachable":
        environment = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    else:
        environment = {"HF_HUB_OFFLINE": "1"}
    failed = consumer.use("prefetch", **environment)
    assert failed["class"] == "CheckpointError", failed
    for part in ("uplifting==1.0.0", "head.safetensors", "example/uplifting"):
        assert part in failed["message"]


def test_ac03_an_embedded_filter_needs_no_prefetch(house: House) -> None:
    assert Filter(house.add()).prefetch() == []


def test_ac03_no_download_function_is_reached_by_a_score(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cold and warm, with every door of `huggingface_hub` nailed up."""
    import huggingface_hub
    from huggingface_hub import constants, file_download

    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for module, name in (
        (huggingface_hub, "hf_hub_download"),
        (huggingface_hub, "snapshot_download"),
        (file_download, "hf_hub_download"),
        (file_download, "http_get"),
        (file_download, "get_hf_file_metadata"),
    ):
        monkeypatch.setattr(module, name, lambda *a, name=name, **o: pytest.fail(f"{name} inside score()"))
    folder = house.add()
    parts = [folder / name for name in ("head.safetensors", "calibration.json", "percentiles.json")]
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["hub"] = {"repo": "example/uplifting", "revision": REVISION}
    with pytest.raises(MissingFileError, match="prefetch"):
        Filter(folder).score(SNIPPET)
    repository = cache / "models--example--uplifting"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for part in parts:
        shutil.move(part, snapshot)
    assert Filter(folder).score(SNIPPET).status == "ok"


def test_a_hub_source_is_a_repository_at_a_commit(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(SECRET)
    source = HubSource(repo="example/absent", revision=REVISION)
    with pytest.raises(MissingFileError, match="in the cache"):
        checkpoints.locate(reference(), tmp_path, source, "tiny==1.0.0")
    assert FileRef.model_validate(file_ref(tmp_path / "head.safetensors")) == reference()
