"""From labels to a filter that scores, in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.numpy import load as load_numpy  # noqa: E402

from distilled_filters.filter import Filter  # noqa: E402
from distilled_filters.spec import read_filter_spec  # noqa: E402
from distilled_filters.training.calibrate import calibrate  # noqa: E402
from distilled_filters.training.data import read_examples, read_lenses, select  # noqa: E402
from distilled_filters.training.evaluate import evaluate  # noqa: E402
from distilled_filters.training.graph import export_fp32  # noqa: E402
from distilled_filters.training.predict import embed, open_filters  # noqa: E402
from distilled_filters.training.student import Student  # noqa: E402
from tests.training.conftest import LENSES, Workshop  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_run_records_its_recipe_and_history(workshop: Workshop) -> None:
    record = json.loads((workshop.run / "recipe.json").read_text())
    assert record["recipe"]["base"] == str(workshop.base)
    losses = [row["eval_loss"] for row in record["history"] if "eval_loss" in row]
    assert losses[-1] < losses[0]


def test_the_exported_backbone_agrees_with_torch(workshop: Workshop, tmp_path: Path) -> None:
    import onnxruntime
    from safetensors.torch import load_model

    lenses = read_lenses(workshop.filters)
    student = Student(workshop.base, lenses)
    load_model(student, str(workshop.run / "student.safetensors"))
    student.eval()
    export_fp32(student.encoder, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    ids = np.array([[0, 4, 5, 9, 10, 11, 12, 2]])
    with torch.no_grad():
        expected = student.embed(torch.from_numpy(ids), torch.ones(ids.shape, dtype=torch.long)).numpy()
    np.testing.assert_allclose(session.run(None, {"input_ids": ids})[0], expected, atol=1e-5)


def test_the_int8_backbone_stays_near_fp32(workshop: Workshop, tmp_path: Path) -> None:
    import onnxruntime
    from safetensors.torch import load_model

    lenses = read_lenses(workshop.filters)
    found, backbone, preprocessor = open_filters(workshop.filters)
    examples = select(read_examples(workshop.data, lenses, preprocessor), "validation")
    student = Student(workshop.base, lenses)
    load_model(student, str(workshop.run / "student.safetensors"))
    export_fp32(student.eval().encoder, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    exact = np.stack([session.run(None, {"input_ids": e.window.ids[None]})[0][0] for e in examples])
    shipped = embed(backbone, [example.window for example in examples], "validation")
    cosine = (exact * shipped).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(shipped, axis=1)
    assert cosine.min() > 0.97
    assert len(found) == len(LENSES)


def test_calibrate_and_evaluate_complete_the_filters(workshop: Workshop) -> None:
    kept = calibrate(workshop.data, workshop.filters)
    assert set(kept) == set(LENSES)
    heads = [(workshop.filters / lens / "v1" / "head.safetensors").read_bytes() for lens in LENSES]
    assert load_numpy(heads[0])["lexical"].any(), "no first look was fitted"
    calibrate(workshop.data, workshop.filters)
    again = [(workshop.filters / lens / "v1" / "head.safetensors").read_bytes() for lens in LENSES]
    assert again == heads, "calibrating twice must not blend twice"
    evaluation = evaluate(workshop.data, workshop.filters)
    means, reports = evaluation.means, evaluation.reports
    student, baseline = (means[name]["medium_average_precision"] for name in ("student", "mean_predictor"))
    assert (student or 0) > (baseline or 0)
    for lens in LENSES:
        folder = workshop.filters / lens / "v1"
        spec = read_filter_spec(folder / "filter.toml")
        assert spec.parts("me5_small")["me5_small"].backbone == "tiny/v1"
        assert json.loads((folder / "metrics.json").read_text())["n"] == reports[lens]["n"]
        score = Filter(folder).score("protest march union rescued healed freed " * 10, strict=True)
        assert score.percentile is not None
        assert score.interval is not None
        assert score.interval[0] <= (score.weighted_average or 0) <= score.interval[1]


def test_lenses_that_read_differently_cannot_share_an_encoder(workshop: Workshop) -> None:
    from distilled_filters.training.data import shared_preprocessing

    first, second = read_lenses(workshop.filters)
    other = second.model_copy(update={"preprocessing": second.preprocessing.model_copy(update={"head_tokens": 64})})
    with pytest.raises(ValueError, match="share"):
        shared_preprocessing([first, other])
