"""`prefetch` with the real client: pinned, checked, bounded, taken up again, and refusals in plain words."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from distilled_filters import hub as hub_module
from distilled_filters.checkpoints import fetch, locate
from distilled_filters.errors import ChecksumError, HubError, MissingFileError
from distilled_filters.filter import Filter
from distilled_filters.hub import redacted
from distilled_filters.spec import FileRef, HubSource, read_filter_spec
from tests.cli.conftest import Run
from tests.conftest import SNIPPET, House, edited, flip_byte, run_python
from tests.hub.conftest import REPO, WEIGHTS, Consumer, point_at
from tests.hub.server import READER, STRANGER

HEAD = "head.safetensors"

# Does as asked with a filter folder and prints, as JSON, how it ended and after how many seconds.
USE = f"""
import json, sys, time
from distilled_filters.filter import Filter
filter = Filter(sys.argv[1])
if "cold" in sys.argv:
    import huggingface_hub.file_download  # its import is not what is timed
start, answer = time.perf_counter(), {{"class": None, "message": None, "status": None}}
try:
    if "prefetch" in sys.argv:
        filter.prefetch()
    else:
        answer["status"] = filter.score({SNIPPET!r}).status
except Exception as error:
    answer |= {{"class": type(error).__name__, "message": str(error)}}
print(json.dumps(answer | {{"seconds": time.perf_counter() - start}}))
"""


def in_a_fresh_process(consumer: Consumer, *what: str, **environment: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run_python(USE, consumer.folder, *what, environment=environment))
    return answer


def share_backbone(consumer: Consumer) -> None:
    """Move the backbone to the Hub too."""
    names = ("model.onnx", "tokenizer.json")
    revision = consumer.hub.offer(
        "example/me5-small", {name: (consumer.backbone / name).read_bytes() for name in names}
    )
    for name in names:
        (consumer.backbone / name).unlink()
    with edited(consumer.backbone / "backbone.toml") as spec:
        spec["hub"] = {"repo": "example/me5-small", "revision": revision}


# --- warm and cold --------------------------------------------------------------------------------------


def test_ac02_ac03_prefetch_brings_all_that_a_later_load_needs(consumer: Consumer) -> None:
    share_backbone(consumer)
    names = {*WEIGHTS, "model.onnx", "tokenizer.json"}
    assert consumer.prefetch() == names == consumer.cached()
    consumer.hub.asked.clear()
    assert in_a_fresh_process(consumer, "score")["status"] == "ok"
    assert consumer.prefetch() == names
    assert Filter(consumer.folder).prefetch(local_files_only=True)
    assert consumer.hub.asked == [], "a load or a prefetch with a warm cache asked the Hub"
    offline = in_a_fresh_process(consumer, "prefetch", HF_HUB_OFFLINE="1")
    assert offline["class"] is None, offline


def test_ac02_ac03_a_cold_cache_fails_fast_and_says_what_to_do(consumer: Consumer) -> None:
    for what, environment in (
        (["cold"], {}),
        (["cold"], {"HF_HUB_OFFLINE": "1"}),
        (["cold", "prefetch"], {"HF_HUB_OFFLINE": "1"}),
    ):
        cold = in_a_fresh_process(consumer, *what, **environment)
        assert cold["class"] == "MissingFileError"
        assert cold["seconds"] < 1
        for part in ("uplifting==1.0.0", HEAD, "`distillery prefetch uplifting==1.0.0`"):
            assert part in cold["message"]
    with pytest.raises(MissingFileError, match=r"head\.safetensors .* not in the cache; run `distillery prefetch"):
        Filter(consumer.folder).prefetch(local_files_only=True)
    assert consumer.hub.asked == [], "score() started a download"


def test_ac02_a_cold_backbone_names_the_filter_that_needs_it(consumer: Consumer, house: House) -> None:
    """The usual case: a small embedded head over a large backbone on the Hub."""
    share_backbone(consumer)
    shutil.rmtree(consumer.folder)
    house.add()
    cold = in_a_fresh_process(consumer, "cold")
    assert cold["class"] == "MissingFileError"
    for part in ("model.onnx", "`distillery prefetch uplifting==1.0.0`"):
        assert part in cold["message"]


def test_files_in_the_folder_need_no_hub(consumer: Consumer, house: House) -> None:
    """A published filter that still comes with its files is an embedded one."""
    with edited(consumer.folder / "filter.toml") as spec:
        hub = spec["checkpoints"]["me5_small"]["hub"]
    shutil.rmtree(consumer.folder)
    house.add()
    with edited(consumer.folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["hub"] = hub
    assert consumer.prefetch() == set()
    assert Filter(consumer.folder).score(SNIPPET).status == "ok"
    assert consumer.hub.asked == []


def test_a_mirror_and_a_proxy_are_heeded(consumer: Consumer) -> None:
    through = {"HF_ENDPOINT": "http://mirror.example", "HTTP_PROXY": consumer.hub.url, "NO_PROXY": ""}
    consumer.hub.storage = "http://storage.example"
    assert in_a_fresh_process(consumer, "prefetch", **through)["class"] is None
    assert consumer.hub.count("resolve.* via mirror.example") >= len(WEIGHTS)
    assert consumer.hub.count("GET /storage.* via storage.example") == 1


# --- what comes is checked ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEIGHTS)
def test_ac04_a_flipped_byte_from_the_hub_is_refused_and_not_kept(consumer: Consumer, name: str) -> None:
    consumer.hub.fault("GET /storage/" if name == HEAD else f"GET .*{name}", flip=True)
    with pytest.raises(ChecksumError, match=f"uplifting==1.0.0: .*{name} has SHA-256"):
        consumer.prefetch()
    assert name not in consumer.cached()
    assert consumer.prefetch() == set(WEIGHTS), "the next try brings the good bytes"


@pytest.mark.parametrize("name", WEIGHTS)
def test_ac04_a_cache_damaged_later_is_refused_at_load_and_mended_by_prefetch(consumer: Consumer, name: str) -> None:
    consumer.prefetch()
    (path,) = consumer.cache.rglob(f"snapshots/*/{name}")
    flip_byte(path.resolve())
    with pytest.raises(ChecksumError, match=name):
        Filter(consumer.folder).load()
    with pytest.raises(ChecksumError, match=name):
        Filter(consumer.folder).prefetch(local_files_only=True)
    consumer.prefetch()
    assert Filter(consumer.folder).score(SNIPPET).status == "ok"


@pytest.mark.parametrize(("name", "more"), [(HEAD, b"!"), ("calibration.json", b" " * 100), ("percentiles.json", b"")])
def test_ac04_another_size_is_refused_before_a_byte_comes(consumer: Consumer, name: str, more: bytes) -> None:
    _, files = consumer.hub.repos[REPO].commits[-1]
    files[name] = files[name] + more if more else files[name][:-1]
    with pytest.raises(ChecksumError, match=rf"{name}: the Hub offers [\d,]+ bytes, the spec says"):
        consumer.prefetch()
    assert consumer.hub.count(f"GET .*{name}") == 0
    assert name != HEAD or consumer.hub.count("GET /storage") == 0


@pytest.mark.parametrize("where", ["GET /storage/", "GET .*calibration.json"])
def test_ac04_a_body_without_an_end_is_cut_off(consumer: Consumer, where: str) -> None:
    consumer.hub.fault(where, endless=True, times=9)
    with pytest.raises(ChecksumError, match=r"the Hub sends more than the [\d,]+ bytes the spec says"):
        consumer.prefetch()
    assert consumer.strays() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Linked-ETag": '"../../../../escaped"'},
        {"X-Linked-ETag": '"..\\escaped"'},
        {"X-Repo-Commit": "../../../../escaped"},
        {"X-Repo-Commit": "0" * 40},
    ],
)
def test_a_mirror_cannot_lead_out_of_the_cache_or_to_another_commit(
    consumer: Consumer, headers: dict[str, str], tmp_path: Path
) -> None:
    consumer.hub.fault("HEAD .*head.safetensors", headers=headers, times=9)
    with pytest.raises(HubError, match="does not answer as the Hub does"):
        consumer.prefetch()
    assert list(tmp_path.rglob("*escaped*")) == []


# --- broken lines and servers in trouble ----------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client write what came in pieces smaller than our files, as it does with large ones."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)


def test_a_broken_transfer_is_taken_up_where_it_broke(consumer: Consumer, small_pieces: None) -> None:
    consumer.hub.fault("GET /storage/", cut=100_000)
    came: list[int] = []
    Filter(consumer.folder).prefetch(progress=came.append)
    assert sum(came) == sum(ref.size for ref in _refs(consumer))
    assert consumer.hub.count("GET /storage") == 2
    assert consumer.hub.count("GET /storage.* bytes=100000-") == 1
    assert consumer.strays() == []


def test_a_transfer_that_begins_anew_takes_its_progress_back(consumer: Consumer, small_pieces: None) -> None:
    consumer.hub.fault("GET /storage/", cut=100_000)
    consumer.hub.fault("GET /storage/", status=503)
    came: list[int] = []
    Filter(consumer.folder).prefetch(progress=came.append)
    assert min(came) == -100_000
    assert sum(came) == sum(ref.size for ref in _refs(consumer))


def test_a_slow_transfer_arrives(consumer: Consumer) -> None:
    consumer.hub.fault("GET /storage/", pause=0.02)
    assert consumer.prefetch() == set(WEIGHTS)


@pytest.mark.parametrize("where", [r"HEAD .*calibration\.json", r"GET .*calibration\.json", "GET /storage/"])
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_in_trouble_is_asked_again(consumer: Consumer, where: str, status: int) -> None:
    consumer.hub.fault(where, status=status, times=2)
    assert consumer.prefetch() == set(WEIGHTS)


def waits_of(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return what the main thread waits from now on, without waiting; other threads, some in a loop, do wait."""
    waits: list[float] = []
    sleep = time.sleep

    def note(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            waits.append(seconds)
        else:
            sleep(seconds)

    monkeypatch.setattr("time.sleep", note)
    return waits


def test_waits_grow(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of(monkeypatch)
    consumer.hub.fault("HEAD .*head", status=503, times=99)
    with pytest.raises(HubError, match=r"head\.safetensors from example/uplifting: the Hub is in trouble \(503\)"):
        consumer.prefetch()
    assert waits == sorted(waits)
    assert len(waits) == consumer.hub.count("HEAD .*head") - 1 > 2


def test_too_many_requests_are_waited_for(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of(monkeypatch)
    consumer.hub.fault("GET /storage", status=429, headers={"Retry-After": "7"})
    assert consumer.prefetch() == set(WEIGHTS)
    assert waits == [8.0], "as long as the Hub said, and a second"


def test_an_unreachable_server_is_named(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(
        HubError, match=r"http://127\.0\.0\.1:9 cannot be reached .*check network, HF_ENDPOINT and proxies"
    ):
        consumer.prefetch()


# --- who may, and what is not there ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "token", "said"),
    [
        ({"private": True}, None, r"no such repository, or a private one \(401\); .*hf auth login"),
        ({"private": True}, STRANGER, r"no such repository, or a private one \(404\)"),
        ({"private": True}, "hf_wrong0123456789abcdef", r"does not accept this token \(401\); log in"),
        (
            {"gated": True},
            None,
            r"gated \(401\); accept its terms at http://127\.0\.0\.1:\d+/example/uplifting, then log in",
        ),
        ({"gated": True}, STRANGER, r"gated \(403\); accept its terms"),
    ],
)
def test_refusals_are_told_apart_with_their_remedy(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool], token: str | None, said: str
) -> None:
    for name, value in options.items():
        setattr(consumer.hub.repos[REPO], name, value)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=said):
        consumer.prefetch()
    assert consumer.hub.count("HEAD") == 1, "a refusal is no trouble that passes"


def test_a_missing_repository_commit_and_file_are_told_apart(consumer: Consumer) -> None:
    (ref, *_), source = _refs(consumer), _source(consumer)
    for wrong, said in (
        (source.model_copy(update={"repo": "example/absent"}), r"no such repository, or a private one \(401\)"),
        (source.model_copy(update={"revision": "0" * 40}), r"no such commit \(404\)"),
    ):
        with pytest.raises(HubError, match=said):
            fetch(ref, wrong, "uplifting==1.0.0")
    with pytest.raises(HubError, match=r"uplifting==1\.0\.0: could not fetch other\.json .*no such file \(404\)"):
        fetch(ref.model_copy(update={"path": "other.json"}), source, "uplifting==1.0.0")


@pytest.mark.parametrize("where", ["environment", "hf auth login"])
def test_a_token_opens_private_and_gated_repositories(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    consumer.hub.repos[REPO].private = consumer.hub.repos[REPO].gated = True
    if where == "environment":
        monkeypatch.setenv("HF_TOKEN", READER)
    else:
        Path(constants.HF_TOKEN_PATH).parent.mkdir(parents=True, exist_ok=True)
        Path(constants.HF_TOKEN_PATH).write_text(READER)
    assert consumer.prefetch() == set(WEIGHTS)
    assert consumer.hub.tokens_seen_by_storage == [], "the token went to another host"


# --- secrets --------------------------------------------------------------------------------------------


def test_no_token_stands_in_logs_errors_or_files(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    caplog.set_level(logging.DEBUG)
    consumer.hub.fault("HEAD .*head", status=500, times=99)
    with pytest.raises(HubError) as caught:
        consumer.prefetch()
    consumer.hub.faults.clear()
    consumer.prefetch()
    texts = [caplog.text, "".join(traceback.format_exception(caught.value))]
    texts += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert [text for text in texts if READER in text] == []


def test_no_signed_link_stands_in_a_warning(consumer: Consumer, caplog: pytest.LogCaptureFixture) -> None:
    consumer.hub.fault("GET /storage", status=429)
    consumer.prefetch()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_token_that_is_no_header_is_not_told(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HTTP library shows the header it cannot send."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret\x01part")
    with pytest.raises(HubError) as caught:
        consumer.prefetch()
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET https://me:pw@mirror.example/x failed", "GET https://***@mirror.example/x failed"),
        ("https://cdn/x?X-Amz-Signature=12ab&y=1 timed out", "https://cdn/x*** timed out"),
        ("Illegal header value b'Bearer abc def'", "Illegal header value b'Bearer ***'"),
        ("token hf_abcdefgh1234 refused", "token *** refused"),
        ("what now? try again", "what now? try again"),
    ],
)
def test_secrets_are_struck_from_messages(text: str, left: str) -> None:
    assert redacted(text) == left


# --- the command ----------------------------------------------------------------------------------------


def test_prefetch_tells_what_came_and_what_did_not(
    consumer: Consumer, house: House, distillery: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.use(monkeypatch)
    looked = distillery("prefetch", "--local-files-only")
    assert looked.exit_code == 1
    assert "head.safetensors of example/uplifting is not in the cache" in looked.stdout
    done = distillery("prefetch", "uplifting")
    assert done.exit_code == 0, done.output
    assert "uplifting 1.0.0: 3 files in the cache, 0.2 MB" in done.stdout
    (outcome,) = json.loads(distillery("prefetch", "--local-files-only", "--json").stdout)
    assert {Path(path).name for path in outcome["files"]} == set(WEIGHTS)
    consumer.hub.repos.clear()
    shutil.rmtree(consumer.cache)
    (outcome,) = json.loads(distillery("prefetch", "--json").stdout)
    assert "no such repository" in outcome["problem"]


def _refs(consumer: Consumer) -> tuple[FileRef, ...]:
    return read_filter_spec(consumer.folder / "filter.toml").checkpoints["me5_small"].files


def _source(consumer: Consumer) -> HubSource:
    source = read_filter_spec(consumer.folder / "filter.toml").checkpoints["me5_small"].hub
    assert source is not None
    return source


def test_a_located_file_may_lie_in_the_cache(consumer: Consumer) -> None:
    consumer.prefetch()
    path = locate(_refs(consumer)[0], consumer.folder, _source(consumer), "uplifting==1.0.0")
    assert path.is_relative_to(consumer.cache)
    assert hub_module.cached(_refs(consumer)[0], _source(consumer)) == path
