"""Specs: every rule is checked, and every message names the file, the key and the value."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from distilled_filters.errors import SpecError
from distilled_filters.spec import (
    BackboneSpec,
    FilterSpec,
    LensSpec,
    read_backbone_spec,
    read_filter_spec,
    read_lens_spec,
)
from tests.conftest import FILTERS, LANGUAGES, SHIPPED, Document, House, edited

Edit = Callable[[Document], Any]


def checkpoint(spec: Document) -> Document:
    (entry,) = spec["checkpoints"].values()
    assert isinstance(entry, dict)
    return entry


def hub(**changes: str) -> Edit:
    good = {"repo": "example/uplifting", "revision": "0123456789abcdef0123456789abcdef01234567"}
    return lambda spec: checkpoint(spec).update(hub={**good, **changes})


BROKEN: dict[str, tuple[Edit, str, str]] = {
    # what: (the edit, the key that the message must name, what it must say)
    "an unknown key": (lambda s: s.update(treshold=4.0), "treshold", "unknown key"),
    "an unknown inner key": (lambda s: s["dimensions"][1].update(wieght=0.1), "dimensions.1.wieght", "unknown key"),
    "an unknown key of a file": (lambda s: checkpoint(s)["head"].update(sha1="0"), "head.sha1", "unknown key"),
    "a missing key": (lambda s: s.pop("lens"), "lens", "required key is missing"),
    "no preprocessing": (lambda s: s.pop("preprocessing"), "preprocessing", "required key is missing"),
    "weights over 1": (lambda s: s["dimensions"][0].update(weight=0.26), "dimensions", "sum to 1.01, not 1"),
    "weights under 1": (lambda s: s["dimensions"].pop(), "dimensions", "not 1"),
    "a weight of nothing": (lambda s: s["dimensions"][0].update(weight=0.0), "dimensions.0.weight", "0"),
    "a weight that is NaN": (lambda s: s["dimensions"][0].update(weight=float("nan")), "dimensions.0.weight", "nan"),
    "a weight as text": (lambda s: s["dimensions"][0].update(weight="0.25"), "dimensions.0.weight", "number"),
    "no dimension": (lambda s: s.update(dimensions=[]), "dimensions", "at least 1"),
    "a dimension twice": (
        lambda s: s["dimensions"][1].update(name=s["dimensions"][0]["name"]),
        "dimensions",
        "'human_wellbeing_impact' stands twice",
    ),
    "a name with a hyphen": (lambda s: s.update(name="up-lifting"), "name", "up-lifting"),
    "a name with a capital": (lambda s: s.update(name="Uplifting"), "name", "Uplifting"),
    "a dimension's name with a space": (
        lambda s: s["dimensions"][2].update(name="justice rights"),
        "dimensions.2.name",
        "justice rights",
    ),
    "a version of two parts": (lambda s: s.update(version="1.0"), "version", "'1.0' is not MAJOR.MINOR.PATCH"),
    "a version 0": (lambda s: s.update(version="0.9.0"), "version", "MAJOR of 1 or more"),
    "an engine that is no range": (lambda s: s.update(engine="0.1 or so"), "engine", "'0.1 or so'"),
    "a language as a word": (lambda s: s.update(languages=["english"]), "languages.0", "english"),
    "a gate on nothing": (lambda s: s["gate"].update(dimension="hope"), "gate.dimension", "'hope' is none of"),
    "a gate off the scale": (lambda s: s["gate"].update(below=11.0), "gate.below", "11"),
    "tiers that rise": (lambda s: s["tiers"].reverse(), "tiers", "at_least must fall"),
    "tiers that are equal": (lambda s: s["tiers"][1].update(at_least=6.0), "tiers", "[6.0, 6.0, 0.0]"),
    "tiers that end over 0": (lambda s: s["tiers"].pop(), "tiers", "[6.0, 4.0]"),
    "a tier twice": (lambda s: s["tiers"][0].update(name="low"), "tiers", "'low' stands twice"),
    "a tier that is NaN": (lambda s: s["tiers"][0].update(at_least=float("nan")), "tiers.0.at_least", "nan"),
    "a head of no tokens": (lambda s: s["preprocessing"].update(head_tokens=0), "preprocessing.head_tokens", "0"),
    "half a token": (lambda s: s["preprocessing"].update(tail_tokens=1.5), "preprocessing.tail_tokens", "integer"),
    "an unknown default": (
        lambda s: s.update(default_checkpoint="big"),
        "default_checkpoint",
        "'big' is none of ['me5_small']",
    ),
    "no checkpoint": (lambda s: s.update(checkpoints={}), "checkpoints", "at least 1"),
    "no digest": (lambda s: checkpoint(s)["head"].pop("sha256"), "head.sha256", "required key is missing"),
    "no size": (lambda s: checkpoint(s)["head"].pop("size"), "head.size", "required key is missing"),
    "half a digest": (lambda s: checkpoint(s)["head"].update(sha256="ab12"), "head.sha256", "ab12"),
    "a path out of the folder": (lambda s: checkpoint(s)["head"].update(path="../head"), "head.path", "../head"),
    "an absolute path": (lambda s: checkpoint(s)["head"].update(path="/etc/passwd"), "head.path", "/etc/passwd"),
    "a branch for a revision": (hub(revision="main"), "hub.revision", "main"),
    "a short revision": (hub(revision="0123456"), "hub.revision", "0123456"),
    "a repository without an owner": (hub(repo="uplifting"), "hub.repo", "uplifting"),
    "an unknown kind": (lambda s: checkpoint(s).update(kind="pickle"), "kind", "zero_inflated_linear"),
    "a backbone out of its folder": (lambda s: checkpoint(s).update(backbone="../../x/v1"), "backbone", "../../x/v1"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_spec_is_refused_by_file_key_and_value(house: House, what: str) -> None:
    edit, key, said = BROKEN[what]
    path = house.add() / "filter.toml"
    with edited(path) as spec:
        edit(spec)
    with pytest.raises(SpecError) as caught:
        read_filter_spec(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert re.search(rf"\b{re.escape(key)}\b", message), message
    assert said in message.replace(str(path), "")


def test_ac04_a_hub_source_at_a_full_commit_is_accepted(house: House) -> None:
    path = house.add() / "filter.toml"
    with edited(path) as spec:
        hub()(spec)
    source = read_filter_spec(path).checkpoints["me5_small"].hub
    assert source is not None
    assert len(source.revision) == 40


def test_all_problems_are_told_at_once(house: House) -> None:
    path = house.add() / "filter.toml"
    with edited(path) as spec:
        del spec["lens"]
        spec["name"] = "-"
    with pytest.raises(SpecError, match=r"(?s)(name:.*lens:|lens:.*name:)"):
        read_filter_spec(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"name = ", "not readable TOML"), (b"name = '\xff'", "not readable TOML"), (None, "no such file")],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "filter.toml"
    if content is not None:
        path.write_bytes(content)
    for read in (read_filter_spec, read_lens_spec, read_backbone_spec):
        with pytest.raises(SpecError, match=f"{re.escape(str(path))}.*{said}"):
            read(path)


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda s: s.update(dims="384"), "dims"),
        (lambda s: s.update(version=0), "version"),
        (lambda s: s.update(pooling="max"), "pooling"),
        (lambda s: s.update(extra=1), "extra"),
        (lambda s: s.pop("tokenizer"), "tokenizer"),
        (lambda s: s["model"].pop("sha256"), "model.sha256"),
    ],
)
def test_a_broken_backbone_spec_is_refused_by_file_and_key(house: House, edit: Edit, key: str) -> None:
    path = house.own_backbone() / "backbone.toml"
    read_backbone_spec(path)
    with edited(path) as spec:
        edit(spec)
    with pytest.raises(SpecError, match=rf"^{re.escape(str(path))}: .*\b{re.escape(key)}\b"):
        read_backbone_spec(path)


def test_the_author_s_part_needs_no_checkpoint(house: House) -> None:
    path = house.add() / "filter.toml"
    with edited(path) as spec:
        del spec["checkpoints"]
    lens = read_lens_spec(path)
    assert type(lens) is LensSpec
    assert lens.name == "uplifting"
    with pytest.raises(SpecError, match="checkpoints: required key is missing"):
        read_filter_spec(path)


def test_a_spec_is_frozen(house: House) -> None:
    spec = read_filter_spec(house.add() / "filter.toml")
    for target, attribute in ((spec, "name"), (spec.tiers[0], "at_least"), (spec.dimensions[0], "weight")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, attribute, "other")
    assert isinstance(spec.dimensions, tuple)
    assert isinstance(spec.tiers, tuple)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_spec_describes_its_folder(name: str) -> None:
    folder = FILTERS / name / "v1"
    spec = read_filter_spec(folder / "filter.toml")
    assert spec.name == name
    assert set(spec.languages) == LANGUAGES
    assert [tier.name for tier in spec.tiers][-1] == "low"
    digest = hashlib.sha256((folder / "prompt.md").read_bytes()).hexdigest()
    assert digest == spec.prompt_sha256, "the prompt changed: that is a new MAJOR version"


def test_ac14_shipped_filters_name_one_backbone_by_its_digest() -> None:
    entries = {
        (part.backbone, part.backbone_sha256)
        for spec in (read_filter_spec(FILTERS / name / "v1" / "filter.toml") for name in SHIPPED)
        for part in spec.parts(spec.default_checkpoint).values()
    }
    ((backbone, digest),) = entries
    spec = read_backbone_spec(FILTERS / "backbones" / backbone / "backbone.toml")
    assert spec.model.sha256 == digest
    assert f"{spec.name}/v{spec.version}" == backbone


def accepts(schema: Document, value: object, root: Document) -> bool:
    """Check a value against the part of JSON Schema that specs use."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], value, root)
    if "anyOf" in schema:
        return any(accepts(option, value, root) for option in schema["anyOf"])
    kinds: dict[str, tuple[type, ...]] = {
        "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
        "null": (type(None),),
    }  # fmt: skip
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return False
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return bool(low <= value <= high and value > schema.get("exclusiveMinimum", float("-inf")))
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(accepts(schema["items"], item, root) for item in value)
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        patterns = schema.get("patternProperties", {})
        for key, item in value.items():
            matched = next((inner for pattern, inner in patterns.items() if re.search(pattern, key)), others)
            inner = known.get(key, matched)
            if inner is False or (isinstance(inner, dict) and not accepts(inner, item, root)):
                return False
        return set(schema.get("required", [])) <= set(value)
    return True


@pytest.mark.parametrize(
    ("kind", "path"),
    [*((FilterSpec, FILTERS / name / "v1" / "filter.toml") for name in SHIPPED)]
    + [(BackboneSpec, path) for path in FILTERS.glob("backbones/*/*/backbone.toml")],
    ids=lambda item: item.parts[-3] if isinstance(item, Path) else "",
)
def test_the_exported_json_schema_accepts_a_shipped_file_and_no_broken_one(kind: type[Any], path: Path) -> None:
    schema = kind.model_json_schema()
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    assert accepts(schema, document, schema)
    assert not accepts(schema, {**document, "surprise": 1}, schema)
    assert not accepts(schema, {**document, "name": "A-b"}, schema)
    for key in schema["required"]:
        assert not accepts(schema, {k: v for k, v in document.items() if k != key}, schema), key
