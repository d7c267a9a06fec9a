"""The LoRA expert: one model in memory, strict heads, the same answers everywhere (AC18, AC19)."""

from __future__ import annotations

import gc
import os
import pickle
import socket
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402

from distilled_filters.article import Article  # noqa: E402
from distilled_filters.errors import (  # noqa: E402
    CheckpointError,
    ChecksumError,
    DistilledFiltersError,
    HeadNotFoundError,
    MissingFileError,
    NotEnoughMemoryError,
    SettingError,
    SpecError,
    UnknownFilterError,
)
from distilled_filters.filter import Filter, load  # noqa: E402
from distilled_filters.panel import Panel  # noqa: E402
from distilled_filters.scorers import decoder, placement  # noqa: E402
from distilled_filters.scorers.base import Reading  # noqa: E402
from distilled_filters.scorers.lora import LoraScorer  # noqa: E402
from tests.conftest import SNIPPET, House, edited, flip_byte, mixed_articles, run_python  # noqa: E402
from tests.language_models import CHECKPOINT, add_expert, redigest, write_head  # noqa: E402


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin with no language model open, and none look a name up (AC1, AC3)."""
    monkeypatch.setattr(decoder, "_open", {})
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))


@pytest.fixture
def home(house: House) -> Path:
    """A filter with a LoRA checkpoint beside its student."""
    return add_expert(house)


def expert(home: Path, **options: Any) -> Filter:
    return Filter(home, checkpoint=CHECKPOINT, device="cpu", **options)


def scorer(each: Filter) -> LoraScorer:
    assert isinstance(each.scorer, LoraScorer)
    return each.scorer


def raw(each: Filter, text: str = SNIPPET) -> list[float]:
    return list(each.scorer(Reading(Article(content=text))).raw)


def test_a_checkpoint_is_chosen_by_name_and_says_so(home: Path, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.use(monkeypatch)
    student = load("uplifting")
    chosen = student.with_checkpoint("tiny-lora", device="cpu")
    score, again = chosen.score(SNIPPET), load("uplifting", checkpoint=CHECKPOINT, device="cpu").score(SNIPPET)
    assert score == again
    assert (score.stage, student.score(SNIPPET).stage) == ("expert", "student")
    assert (score.provenance.checkpoint, score.provenance.backbone) == (CHECKPOINT, "tiny_lm/v1")
    assert score.dimensions != student.score(SNIPPET).dimensions
    assert 0 < (score.raw_weighted_average or 0) < 10
    with pytest.raises(UnknownFilterError, match=r"no checkpoint 'nope', but \['me5_small', 'tiny_lora'\]"):
        student.with_checkpoint("nope")
    assert pickle.loads(pickle.dumps(chosen)).score(SNIPPET) == score


def test_the_adapter_matters(home: Path) -> None:
    before = raw(expert(home))
    path = home / CHECKPOINT / "adapter_model.safetensors"
    save_file({key: tensor * 0 for key, tensor in load_file(path).items()}, path)
    write_head(home, load_file(home / CHECKPOINT / "head.safetensors"))
    assert np.abs(np.subtract(raw(expert(home)), before)).max() > 0.05


FRESH = """
import sys
from distilled_filters.article import Article
from distilled_filters.filter import Filter
from distilled_filters.scorers.base import Reading
scorer = Filter(sys.argv[1], checkpoint="tiny_lora", device="cpu").scorer
print(*(value.hex() for value in scorer(Reading(Article(content=sys.argv[2]))).raw))
"""


def test_ac18_a_fresh_process_gives_the_same_bits(home: Path) -> None:
    assert [value.hex() for value in raw(expert(home))] == run_python(FRESH, home, SNIPPET).split()


# --- strict loading -----------------------------------------------------------------------------------


def without_bias(tensors: dict[str, Any]) -> None:
    del tensors["bias"]


def with_more(tensors: dict[str, Any]) -> None:
    tensors["score.weight"] = tensors["bias"].clone()


def narrower(tensors: dict[str, Any]) -> None:
    tensors["weight"] = tensors["weight"][:, :16].contiguous()


def as_before_training(tensors: dict[str, Any]) -> None:
    tensors["weight"].zero_()


@pytest.mark.parametrize("change", [without_bias, with_more, narrower, as_before_training])
def test_ac18_a_head_that_is_not_whole_is_refused(home: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors = load_file(home / CHECKPOINT / "head.safetensors")
    change(tensors)
    write_head(home, tensors)
    with pytest.raises(HeadNotFoundError, match=r"head\.safetensors"):
        expert(home).load()
    assert decoder._open == {}, "what a failed load opened is closed again"


def test_ac18_a_head_of_another_adapter_is_refused(home: Path) -> None:
    write_head(home, load_file(home / CHECKPOINT / "head.safetensors"), adapter="0" * 64)
    with pytest.raises(HeadNotFoundError, match="000000000000"):
        expert(home).load()


def test_ac18_a_missing_head_is_missed_by_name(home: Path) -> None:
    (home / CHECKPOINT / "head.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"tiny_lora/head\.safetensors"):
        expert(home).load()


@pytest.mark.parametrize("spoil", ["missing", "extra", "misshapen", "other layout"])
def test_ac18_an_adapter_that_does_not_fit_is_refused(home: Path, spoil: str) -> None:
    path = home / CHECKPOINT / "adapter_model.safetensors"
    tensors = load_file(path)
    first = sorted(tensors)[0]
    if spoil == "missing":
        del tensors[first]
    elif spoil == "extra":
        tensors["base_model.model.score.weight"] = torch.ones(2, 32)
    elif spoil == "misshapen":
        tensors[first] = tensors[first][:2].contiguous()
    else:
        tensors = {key.replace("base_model.model.", "base_model.model.model."): each for key, each in tensors.items()}
    save_file(tensors, path)
    write_head(home, load_file(home / CHECKPOINT / "head.safetensors"))
    with pytest.raises(CheckpointError, match="the adapter does not fit the model"):
        expert(home).load()
    assert decoder._open == {}


@pytest.mark.parametrize("part", ["adapter", "adapter_config", "head", "calibration", "percentiles"])
def test_ac04_a_flipped_byte_is_refused_by_the_file_s_name(home: Path, part: str) -> None:
    with edited(home / "filter.toml") as spec:
        path = spec["checkpoints"][CHECKPOINT][part]["path"]
    flip_byte(home / path)
    with pytest.raises(ChecksumError, match=path):
        expert(home).load()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_ac04_a_flipped_byte_in_the_language_model_is_refused(home: Path, house: House, name: str) -> None:
    flip_byte(house.root / "backbones" / "tiny_lm" / "v1" / name)
    with pytest.raises(ChecksumError, match=name):
        expert(home).load()


def test_a_config_that_asks_for_code_is_refused(home: Path, house: House) -> None:
    folder = house.root / "backbones" / "tiny_lm" / "v1"
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.replace("{", '{"auto_map": {"AutoModel": "evil.Model"},', 1))
    with pytest.raises(CheckpointError, match="code of its own"):
        decoder.load_model(
            folder / "config.json", [folder / "model.safetensors"], placement.place("cpu", "fp32"), "tiny_lm"
        )


def test_a_window_longer_than_the_model_reads_is_refused(home: Path) -> None:
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"][CHECKPOINT]["window"]["head_tokens"] = 600
    with pytest.raises(SpecError, match="512"):
        expert(home).load()


# --- reading at the last token ------------------------------------------------------------------------


def test_ac19_one_and_eight_at_once_agree(home: Path) -> None:
    each = scorer(expert(home))
    windows = [
        each.preprocessor(Article(content=row["content"])).ids for row in mixed_articles(8, shortest=20, longest=90)
    ]
    assert len({len(window) for window in windows}) > 4
    together = each.decoder.answers(each.adapter, windows)
    alone = np.concatenate([each.decoder.answers(each.adapter, [window]) for window in windows])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


class Sees(torch.nn.Module):  # type: ignore[name-defined]
    """A model that looks at what stands after a token."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(size, 8)
        self.config = type("Config", (), {"hidden_size": 8, "vocab_size": size})()

    def forward(self, input_ids: Any, **_: Any) -> Any:
        states = self.words(input_ids)
        return type("Output", (), {"last_hidden_state": states + states.mean(dim=1, keepdim=True)})()


def test_ac19_a_model_that_looks_at_padding_is_refused_at_load(home: Path) -> None:
    whole = scorer(expert(home)).decoder
    with pytest.raises(CheckpointError, match="looks at padding"):
        decoder.Decoder(whole.spec, Sees(20), whole.tokenizer, whole.placement)


@pytest.mark.parametrize("token", ["<none>", "on"])
def test_ac19_a_pad_token_that_the_model_does_not_know_is_refused_at_load(home: Path, token: str) -> None:
    whole = scorer(expert(home)).decoder
    spec = whole.spec.model_copy(update={"pad": token})
    with pytest.raises(CheckpointError, match=f"pad token '{token}'"):
        decoder.Decoder(spec, Sees(19), whole.tokenizer, whole.placement)


def test_a_model_without_a_start_token_needs_none(home: Path, house: House) -> None:
    """As Qwen's, which begins windows with the text."""
    with edited(house.root / "backbones" / "tiny_lm" / "v1" / "backbone.toml") as spec:
        del spec["start"]
    ids = scorer(expert(home)).preprocessor(Article(content=SNIPPET)).ids.tolist()
    assert (1 in ids, ids[-1]) == (False, 2)


def test_windows_that_do_not_end_are_no_others(home: Path) -> None:
    """A checkpoint whose windows have no end token shares none with one that has."""
    closed = expert(home)
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"]["open"] = dict(spec["checkpoints"][CHECKPOINT])
        spec["checkpoints"]["open"]["window"] = {**spec["checkpoints"][CHECKPOINT]["window"], "end": False}
    reading = Reading(Article(content=SNIPPET))
    ended, not_ended = (
        list(each.scorer(reading).raw) for each in (closed, Filter(home, checkpoint="open", device="cpu"))
    )
    assert ended != not_ended


def test_no_text_becomes_a_special_token(home: Path) -> None:
    each = scorer(expert(home))
    ids = each.preprocessor(Article(content="the council said <eos> on <bos> the year <pad> " * 3)).ids.tolist()
    assert (ids[0], ids[-1]) == (1, 2)
    assert not {0, 1, 2} & set(ids[1:-1])


# --- one model in memory ------------------------------------------------------------------------------


def memory(model: Any) -> int:
    """Bytes of a model's tensors, each storage once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in model.state_dict().values()}
    return sum(storage.nbytes() for storage in storages.values())


def test_two_filters_hold_one_language_model_in_memory(home: Path, house: House) -> None:
    first, second = expert(home), expert(add_expert(house, "belonging", seed=2))
    alone = raw(first)
    shared = scorer(first).decoder
    before = memory(shared._model)
    other = raw(second)
    assert scorer(second).decoder is shared
    grown = memory(shared._model) - before
    adapter = sum(each.nbytes for each in load_file(home / CHECKPOINT / "adapter_model.safetensors").values())
    assert grown == adapter < before / 2
    models = [each for each in gc.get_objects() if type(each).__name__ == "LlamaModel"]
    assert len(models) == 1
    assert other != alone == raw(first), "each keeps its own adapter"


def test_the_last_filter_takes_the_language_model_with_it(home: Path, house: House) -> None:
    first, second = expert(home), expert(add_expert(house, "belonging", seed=2))
    expected, kept = raw(first), raw(second)
    model = weakref.ref(scorer(first).decoder._model.base_model.model)
    first.unload()
    assert raw(second) == kept
    second.unload()
    second.unload()
    gc.collect()
    assert decoder._open == {}
    assert model() is None
    assert raw(first) == expected, "it is opened again when it is asked"


def test_ac10_threads_do_not_mix_adapters(home: Path, house: House) -> None:
    pair = [expert(home), expert(add_expert(house, "belonging", seed=2))]
    expected = [raw(each) for each in pair]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: raw(pair[number % 2]), range(64)))
    assert found == expected * 32


def test_ac10_threads_that_open_at_once_leave_one_user(home: Path) -> None:
    each, start = expert(home), threading.Barrier(4)

    def first(_: int) -> list[float]:
        start.wait()
        return raw(each)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(first, range(4)))
    assert found == [found[0]] * 4
    each.unload()
    assert decoder._open == {}


def test_ac24_a_panel_mixes_kinds(home: Path, house: House) -> None:
    other = Filter(house.add("belonging"))
    scores = Panel([expert(home), other]).score({"id": "a", "content": SNIPPET})
    assert scores["uplifting"] == expert(home).score({"id": "a", "content": SNIPPET})
    assert scores["belonging"] == other.score({"id": "a", "content": SNIPPET})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ac11_a_forked_child_goes_on(home: Path) -> None:
    each = expert(home)
    expected = raw(each)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.allclose(raw(each), expected, atol=1e-5) else 1)
    assert os.waitpid(child, 0)[1] == 0


# --- where it runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cpu", "fp16", "fp16 on a processor"),
        ("cpu", "4bit", "4bit needs an NVIDIA GPU"),
        ("cpu", "int3", "no precision 'int3'; known: fp32"),
        ("abacus", None, "no device 'abacus'"),
        ("cuda:99", None, "has no device 'cuda:99'"),
    ],
)
def test_a_place_that_cannot_be_had_is_refused(device: str, precision: str | None, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        placement.place(device, precision)


def test_the_environment_may_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILLED_FILTERS_DEVICE", "cpu")
    monkeypatch.setenv("DISTILLED_FILTERS_PRECISION", "bf16")
    assert placement.place() == placement.Placement(torch.device("cpu"), "bf16")
    assert placement.place(precision="fp32").precision == "fp32"


def test_bf16_answers_nearly_the_same(home: Path) -> None:
    exact, short = raw(expert(home)), raw(expert(home, precision="bf16"))
    assert len(decoder._open) == 2, "a model in another precision is another model"
    assert 0 < np.abs(np.subtract(exact, short)).max() < 0.5


def test_what_does_not_fit_is_refused_before_it_is_loaded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_free_memory", lambda device: 1000.0)
    monkeypatch.setattr(decoder, "MODEL_MAPPING", {})
    with pytest.raises(NotEnoughMemoryError, match="tiny_lm/v1 takes about"):
        expert(home).load()


def test_without_the_extra_the_error_names_the_pip_line(home: Path) -> None:
    code = f"""
import sys
sys.modules["peft"] = None
from distilled_filters.errors import DistilledFiltersError
from distilled_filters.filter import Filter
try:
    Filter({str(home)!r}, checkpoint="tiny_lora").score({SNIPPET!r})
except DistilledFiltersError as error:
    print(error)
print(Filter({str(home)!r}).score({SNIPPET!r}).status.value)
"""
    said, status = run_python(code).splitlines()
    assert said == "LoRA checkpoints need peft; install it with: pip install 'distilled-filters[lora]'"
    assert status == "ok"


def test_an_adapter_of_other_weights_is_refused(home: Path) -> None:
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"][CHECKPOINT]["backbone_sha256"] = "1" * 64
    with pytest.raises(CheckpointError, match="the adapter was trained on 111111111111"):
        expert(home).load()


def test_an_adapter_config_of_another_kind_is_refused(home: Path) -> None:
    path = home / CHECKPOINT / "adapter_config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"LORA"', '"IA3"'), encoding="utf-8")
    redigest(home)
    with pytest.raises(DistilledFiltersError, match="not the config of a LoRA adapter"):
        expert(home).load()
