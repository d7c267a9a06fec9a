"""A recipe's settings are checked by name and value, wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from distilled_filters.errors import SettingError
from distilled_filters.training.recipe import Recipe, make_recipe, read_recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"regression": "hubber"}, "regression: no regression loss 'hubber'; did you mean 'huber'"),
        ({"ranking": {"listmel": 1.0}}, "no ranking loss 'listmel'; did you mean 'listmle'"),
        ({"ranking": {"margin": 0.0}}, "ranking.margin: must be more than 0, not 0.0"),
        ({"epochs": -1}, "epochs: must be more than 0, not -1"),
        ({"epoch": 1}, "epoch: unknown key"),
        ({"unlabelled": "more.jsonl"}, "unlabelled articles need a teacher"),
        ({"start": "absent"}, "absent is no training run"),
    ],
)
def test_wrong_settings_are_named_with_their_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message.replace("?", r"\?")):
        make_recipe(fields)


def test_a_recipe_file_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('base = "models/mine"\nepochs = 2\nfilters = ["uplifting"]\nranking = { margin = 0.2 }\n')
    recipe = make_recipe(read_recipe(path))
    assert recipe == Recipe(base="models/mine", epochs=2, filters=("uplifting",), ranking={"margin": 0.2})
    path.write_text("epochs = = 2")
    with pytest.raises(SettingError, match=r"recipe\.toml: not readable TOML"):
        read_recipe(path)


def test_one_folder_has_one_spelling() -> None:
    assert Recipe(teacher="runs/first/") == Recipe(teacher="runs/first")
