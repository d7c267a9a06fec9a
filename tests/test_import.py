"""What an import brings, and what it must not: AC1, AC15, AC17, and the public names."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import distilled_filters
from distilled_filters import errors, registry
from distilled_filters.filter import Filter
from tests.conftest import ROOT, SHIPPED, SNIPPET, House, run_python

SOURCE = ROOT / "src" / "distilled_filters"
HEAVY = "torch transformers pandas sklearn scipy accelerate datasets onnx matplotlib"

OFFLINE = f"""
import json, os, socket, sys
counted = []
def refuse(name):
    def refused(*arguments, **options):
        counted.append(f"{{name}}{{arguments}}")
        raise OSError("the network is blocked")
    return refused
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
    setattr(socket, name, refuse(name))
class Blocked(socket.socket):
    def __init__(self, *arguments, **options):
        refuse("socket")(*arguments)
socket.socket = Blocked
from distilled_filters import Panel, uplifting
one = uplifting.score({SNIPPET!r})
many = Panel.all().score({SNIPPET!r})
print(json.dumps({{
    "status": one.status, "panel": sorted({{score.status for score in many.values()}}), "filters": len(many),
    "network": counted, "home": os.listdir(os.environ["HOME"]),
}}))
"""


def test_ac01_an_embedded_filter_scores_without_network_and_home(tmp_path: Path) -> None:
    """An empty home stays empty: a runtime that leaves a device id there wants to report to somebody."""
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "HF_HOME": str(home / "hf")}
    answer = json.loads(run_python(OFFLINE, environment=places))
    assert answer == {"status": "ok", "panel": ["ok"], "filters": len(SHIPPED), "network": [], "home": []}


def loaded(code: str, names: str) -> set[str]:
    return set(run_python(f"import sys\n{code}\nprint(*sys.modules)").split()) & set(names.split())


def test_ac15_the_import_loads_nothing_but_itself() -> None:
    light = f"numpy pydantic onnxruntime tokenizers huggingface_hub safetensors ftfy resiliparse typer rich {HEAVY}"
    assert loaded("import distilled_filters", light) == set()
    assert loaded("import distilled_filters, numpy", light) == {"numpy"}, "the test sees nothing"


def test_ac15_a_score_loads_no_training_and_no_hub() -> None:
    code = f"from distilled_filters import uplifting; assert uplifting.score({SNIPPET!r}).status == 'ok'"
    assert loaded(code, f"onnxruntime huggingface_hub typer rich pyarrow {HEAVY}") == {"onnxruntime"}


def test_ac15_the_names_of_the_filters_load_no_runtime() -> None:
    code = "import distilled_filters; assert 'uplifting' in dir(distilled_filters)"
    assert loaded(code, f"numpy onnxruntime tokenizers huggingface_hub {HEAVY}") == set()


def test_ac15_the_import_takes_150_milliseconds_at_most() -> None:
    code = "import time; start = time.perf_counter(); import distilled_filters; print(time.perf_counter() - start)"
    assert min(float(run_python(code)) for _ in range(5)) <= 0.15


# --- AC17 and the house's order, read from the source --------------------------------------------------

PICKLES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
LANGUAGE_MODELS = {"decoder", "placement"}
"""What the extra [lora] is for; no score by a student imports them (test_ac15_a_score_loads_no_training...)."""
TRAINING = {"torch", "transformers", "pandas", "sklearn", "accelerate", "onnx"}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "training" not in path.parts)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unpicklers(tree: ast.AST) -> Iterator[str]:
    """Calls that read pickles: `torch.load`, `numpy.load`, `read_pickle`, and their likes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"torch.load", "np.load", "numpy.load", "pd.read_pickle"} or node.attr == "read_pickle":
                yield name


def test_ac17_the_scan_sees_what_it_looks_for() -> None:
    tree = ast.parse(
        "import pickle\nfrom joblib import load\nimport torch as t, numpy as np\nnp.load('x')\ntorch.load('x')"
    )
    assert set(imported(tree)) >= {"pickle", "joblib", "joblib.load"}
    assert list(unpicklers(tree)) == ["np.load", "torch.load"]
    assert len(modules()) > 15


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_ac15_ac17_no_module_of_the_core_reads_pickles_or_needs_training(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    roots = {name.split(".")[0] for name in imported(tree)}
    assert not roots & PICKLES
    assert list(unpicklers(tree)) == []
    if "cli" not in path.parts:
        # Where an adapter or a language model needs its library, nothing imports it but its user.
        assert "integrations" in path.parts or path.stem in LANGUAGE_MODELS or not roots & TRAINING
        assert not any(name.startswith("distilled_filters.training") for name in imported(tree))


# The house imports downward only: each module may import what stands on lower floors.
FLOORS = [
    {"status"},
    {"errors"},
    {"article", "result", "spec", "files", "threads", "parallel", "scorers.forks"},
    {"checkpoints", "calibration", "decision", "preprocess"},
    {"scorers", "scorers.base", "scorers.head", "scorers.onnx", "scorers.lexical"},
    {"scorers.linear", "scorers.kinds", "scorers.lora", "scorers.decoder", "scorers.placement"},
    {"registry"},
    {"filter"},
    {"panel", "golden", "columns"},
]


def test_the_core_imports_downward_only() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for name, number in floor.items():
        path = SOURCE.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for target in imported(ast.parse(path.read_text(encoding="utf-8"))):
            inner = target.removeprefix("distilled_filters.")
            if inner != target and inner in floor and inner != name:
                same = number == floor[inner] and name.startswith("scorers")
                assert floor[inner] < number or same, f"{name} imports {inner}"


# --- the public names ----------------------------------------------------------------------------------


def test_every_public_name_resolves_and_is_listed() -> None:
    for name in distilled_filters.__all__:
        assert getattr(distilled_filters, name) is not None
    listed = dir(distilled_filters)
    assert listed == sorted({*distilled_filters.__all__, *SHIPPED})
    assert all(isinstance(getattr(distilled_filters, name), Filter) for name in SHIPPED)
    assert distilled_filters.uplifting is distilled_filters.uplifting


def test_type_checkers_see_exactly_the_public_names_and_the_shipped_filters() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    names, filters = set(), set()
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name} is not re-exported"
                names.add(alias.name)
                module = __import__(str(node.module), fromlist=[alias.name])
                assert getattr(module, alias.name) is getattr(distilled_filters, alias.name)
        elif isinstance(node, ast.AnnAssign):
            assert ast.unparse(node.annotation) == "Filter"
            filters.add(ast.unparse(node.target))
    assert names == set(distilled_filters.__all__) - {"__version__"}
    assert filters == set(SHIPPED)


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no filter named 'upliftign'; did you mean 'uplifting'"):
        _ = distilled_filters.upliftign
    with pytest.raises(AttributeError, match="has no attribute '_private'"):
        _ = distilled_filters._private
    with pytest.raises(ImportError):
        exec("from distilled_filters import xyzzy")
    assert not hasattr(distilled_filters, "__wrapped__")


def test_a_filter_with_a_broken_spec_tells_its_importer_why(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add("belonging", name="sports")
    (house.root / "sports" / "v1" / "filter.toml").write_text("name = ")
    house.use(monkeypatch)
    with pytest.raises(errors.SpecError, match="not readable TOML"):
        _ = distilled_filters.sports


@pytest.mark.parametrize("name", ["filter", "panel", "article", "errors", "spec", "registry", "checkpoints"])
def test_a_submodule_is_not_taken_for_a_filter(name: str) -> None:
    code = f"from distilled_filters import {name}; print({name}.__name__)"
    assert run_python(code).strip() == f"distilled_filters.{name}"


def test_the_errors_are_one_tree_drawn_in_its_docstring() -> None:
    classes = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert set(errors.__all__) == set(classes)
    drawn = [
        line for line in str(errors.__doc__).splitlines() if line.endswith("DistilledFiltersError") or "── " in line
    ]
    stack: list[str] = []
    seen = set()
    for line in drawn:
        label = line.lstrip("│├└─ ")
        depth = (len(line) - len(label)) // 4
        name = label.split()[0]
        if "." in name:
            stack[depth:] = [name]
            continue
        if depth and "." in stack[depth - 1]:
            continue
        kind = classes[name]
        if depth:
            assert classes[stack[depth - 1]] in kind.__bases__, f"{name} is drawn under {stack[depth - 1]}"
        if "(" in label.split("  ")[0]:
            builtin = label.split("(")[1].split(")")[0]
            assert any(base.__name__ == builtin for base in kind.__bases__), f"{name} is no {builtin}"
        stack[depth:] = [name]
        seen.add(name)
    assert seen == set(errors.__all__)


def test_the_package_is_typed_and_its_filters_are_found_in_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel has the filters inside the package, an editable install at the top of the repository."""
    assert (SOURCE / "py.typed").is_file()
    assert registry.embedded_folder() == ROOT / "filters"
    package = tmp_path / "site" / "distilled_filters"
    (package / "filters").mkdir(parents=True)
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    assert registry.embedded_folder() == package / "filters"
