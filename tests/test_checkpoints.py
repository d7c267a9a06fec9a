"""Files are local, whole and checked before a runtime sees them; only `prefetch` reaches the Hub."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
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
from tests.conftest import FILTERS, SHIPPED, SNIPPET, House, edited, flip_byte

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
    snapshot = cache / "models--example--uplifting" / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for part in parts[1:]:
        shutil.move(part, snapshot)
    head = parts[0].rename(tmp_path / parts[0].name)
    with pytest.raises(MissingFileError, match="prefetch"):
        Filter(folder).score(SNIPPET)
    shutil.move(head, snapshot)
    assert Filter(folder).score(SNIPPET).status == "ok"


def test_a_file_in_the_folder_goes_before_the_cache(tmp_path: Path) -> None:
    source = HubSource(repo="example/absent", revision=REVISION)
    with pytest.raises(MissingFileError, match=r"in the cache; run `distillery prefetch tiny==1\.0\.0`"):
        checkpoints.locate(reference(), tmp_path, source, "tiny==1.0.0")
    (tmp_path / "head.safetensors").write_bytes(SECRET)
    assert checkpoints.locate(reference(), tmp_path, source, "tiny==1.0.0") == tmp_path / "head.safetensors"
    (tmp_path / "head.safetensors").write_bytes(SECRET[::-1])
    with pytest.raises(ChecksumError, match="SHA-256"):
        checkpoints.locate(reference(), tmp_path, source, "tiny==1.0.0")


@pytest.mark.parametrize("name", ["head.bin", "head.pkl", "head.pt", "head", "head.safetensors.py", "model.gguf"])
def test_ac17_formats_that_may_run_code_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SECRET)
    said = f"tiny==1.0.0: {name} is neither safetensors nor ONNX nor JSON"
    with pytest.raises(CheckpointError, match=said):
        checkpoints.locate(reference(path=name), tmp_path, None, "tiny==1.0.0")
    with pytest.raises(CheckpointError, match=said):
        checkpoints.fetch(reference(path=name), HubSource(repo="a/b", revision=REVISION), "tiny==1.0.0")


@pytest.mark.parametrize(
    "path", ["../head.safetensors", "/etc/head.json", "a/../../head.json", "..", ".hidden.json", "a\\b.json"]
)
def test_ac17_a_path_that_leads_out_is_no_path_of_a_spec(house: House, path: str) -> None:
    folder = house.add()
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["head"]["path"] = path
    with pytest.raises(SpecError, match=r"filter\.toml: .*head\.path"):
        Filter(folder)
