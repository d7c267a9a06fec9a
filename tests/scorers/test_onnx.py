"""The shared encoder: one session a digest, one thread, one article a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distilled_filters.errors import CheckpointError, RecordError, SpecError
from distilled_filters.filter import Filter
from distilled_filters.scorers import onnx
from distilled_filters.scorers.onnx import Backbone, open_backbone
from distilled_filters.spec import read_backbone_spec
from distilled_filters.status import Status
from tests.conftest import House, edited, file_ref


def window(length: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(100, 50_000, length)


def test_an_embedding_is_what_the_spec_says(backbone: Backbone) -> None:
    embedding = backbone.embed(window(12))
    assert embedding.shape == (backbone.spec.dims,)
    assert embedding.dtype == np.float32
    assert np.isfinite(embedding).all()
    assert np.abs(embedding - backbone.embed(window(12, seed=1))).max() > 1e-3


def test_ac06_an_embedding_depends_on_nothing_that_went_before(backbone: Backbone) -> None:
    before = {length: backbone.embed(window(length)) for length in (2, 50, 186, 512)}
    for length in (512, 2, 186, 50, 2):
        np.testing.assert_array_equal(backbone.embed(window(length)), before[length])


def test_ac08_a_window_that_the_runtime_refuses_is_that_record_s_error(backbone: Backbone) -> None:
    with pytest.raises(RecordError, match="the backbone failed on 513 tokens") as caught:
        backbone.embed(window(backbone.spec.max_tokens + 1))
    assert caught.value.status is Status.ERROR
    assert np.isfinite(backbone.embed(window(5))).all()


def test_ac14_one_digest_is_one_session(backbone: Backbone, house: House, uplifting: Filter) -> None:
    digest = uplifting.provenance.backbone_sha256
    assert open_backbone(uplifting.backbone_folder, digest, "tiny==1.0.0") is backbone
    assert open_backbone(house.own_backbone(), digest, "tiny==1.0.0") is backbone


def test_ac12_ac13_how_the_session_is_opened(backbone: Backbone) -> None:
    """One thread that does not spin, and no memory plan a length."""
    options = backbone._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_mem_pattern is False


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"rubbish", b"{}"])
def test_a_file_that_no_runtime_reads_is_a_checkpoint_error(
    house: House, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    """With the right digest: the spec was written for a broken export."""
    folder = house.own_backbone()
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    with edited(folder / "backbone.toml") as spec:
        spec[name.split(".")[0]] = file_ref(folder / name)
    monkeypatch.setattr(onnx, "_open", {})
    digest = read_backbone_spec(folder / "backbone.toml").model.sha256
    with pytest.raises(CheckpointError, match=r"backbone me5_small/v1 does not open|model\.onnx is not an ONNX file"):
        open_backbone(folder, digest, "tiny==1.0.0")
    assert onnx._open == {}


def test_a_backbone_without_a_spec_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"backbone\.toml: no such file"):
        open_backbone(tmp_path, "0" * 64, "tiny==1.0.0")
