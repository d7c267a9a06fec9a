"""Making an ensemble: what each member counts for, the tables of their sum, and its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.scorers.compositions import Combination
from distilled_filters.training.answers import kept_answers
from distilled_filters.training.beside import fit_further, having, judge_answers, labelled
from distilled_filters.training.calibrate import write_identity
from distilled_filters.training.data import select, true_dimensions
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.folder import free_name, write_checkpoint

__all__ = ["METHODS", "factors", "fit_ensembles"]

FloatArray = npt.NDArray[np.float64]

METHODS = ("mean", "weighted", "stacked")
_FILE = "ensemble.json"


def fit_ensembles(
    data: Path,
    filters: Path,
    members: Sequence[str],
    *,
    method: str = "stacked",
    name: str = "ensemble",
    cache: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Fit and write an ensemble for every filter that has all members; return its factors and isotonic tables.

    Factors are fitted on the validation split to the members' calibrated dimensions; tables on the
    splits that other checkpoints' are fitted on.

    Args:
        data: A data folder.
        filters: The `filters/` folder.
        members: Two checkpoints with weights of their own, or more.
        method: One of `METHODS`.
        name: What the spec calls the ensemble.
        cache: Where answers are kept; see `kept_answers`.

    Raises:
        SettingError: when no filter has them all, the method is unknown, or the name is another checkpoint's.
    """
    if method not in METHODS:
        raise SettingError(f"no method {method!r}; there are: {', '.join(METHODS)}")
    wanted = list(dict.fromkeys(member.replace("-", "_") for member in members))
    if len(wanted) < 2:
        raise SettingError(f"an ensemble has two members or more; it was given {wanted}")
    found = [each for each in having(filters, wanted[0]) if set(wanted) <= set(each.spec.checkpoints)]
    if not found:
        raise SettingError(f"no filter under {filters} has all of the checkpoints {', '.join(wanted)}")
    return {each.name: _fit(data, each, wanted, method, name, cache) for each in found}


def _fit(
    data: Path, each: Filter, members: Sequence[str], method: str, name: str, cache: Path | None
) -> dict[str, Any]:
    spec = each.spec
    name = free_name(spec, name, "ensemble")
    for member in members:
        if spec.checkpoints[member].parts:
            raise SettingError(f"{each.name}: {member} is itself made of others; name those that have weights")
    examples = select(labelled(data, each), "validation")
    articles = [as_article(example) for example in examples]
    answers = [
        judge_answers(kept_answers(each.with_checkpoint(one), articles, f"{each.name}: {one}", cache), spec).dimensions
        for one in members
    ]
    found = factors(np.stack(answers), true_dimensions(examples, spec), method)
    combination = Combination(
        made_for={one: spec.parts(one)[one].fingerprint for one in members},
        source=f"{method} of {len(members)} on {len(examples)} validation articles",
        coefficients=dict(zip(members, found.tolist(), strict=True)),
    )
    folder = each.folder / name
    folder.mkdir(exist_ok=True)
    write_json(folder / _FILE, combination.model_dump(mode="json"))
    write_identity(folder, _FILE)
    files = {"combination": _FILE, "calibration": "calibration.json", "percentiles": "percentiles.json"}
    fields = {"kind": "ensemble", "members": list(members), "method": method}
    write_checkpoint(each.folder, name, fields, **{key: folder / file for key, file in files.items()})
    isotonic = fit_further(data, each.with_checkpoint(name), cache)
    return {"coefficients": combination.coefficients, "isotonic": isotonic}


def factors(answers: FloatArray, truth: FloatArray, method: str) -> FloatArray:
    """Return what each member's dimensions count for, (m, d): zero or more, to four decimals.

    `mean` counts all alike; `weighted` has one factor a member, `stacked` (Breiman, 1996) one a
    dimension of each, both by non-negative least squares.

    Args:
        answers: The members' calibrated dimensions, (m, n, d), 0-10.
        truth: The oracle's, (n, d).
        method: One of `METHODS`.
    """
    count, _, dimensions = answers.shape
    if method == "mean":
        return np.full((count, dimensions), 1 / count)
    if method == "weighted":
        shared, _ = nnls(answers.reshape(count, -1).T, truth.ravel())
        if not shared.any():  # no member finds anything that the oracle does
            return factors(answers, truth, "mean")
        return np.repeat(np.round(shared / shared.sum(), 4)[:, np.newaxis], dimensions, axis=1)
    return np.stack([np.round(nnls(answers[:, :, each].T, truth[:, each])[0], 4) for each in range(dimensions)], axis=1)
