"""Writing a new filter's folder, and taking a changed prompt into its spec."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
import shutil
import tempfile
from pathlib import Path
from string import Template

from distilled_filters.errors import SettingError, SpecError
from distilled_filters.files import write_text
from distilled_filters.spec import Dimension, Gate, LensSpec, read_lens_spec
from distilled_filters.training.oracle.templates import filters_option, prompt_problems
from distilled_filters.training.scaffold.draft import Draft, draft_problem, pattern_lens

__all__ = ["seal", "write_filter"]

_ANCHORS = (
    ("0-2", "nothing of it, or the contrary"),
    ("3-4", "touched, claimed or promised"),
    ("5-6", "clear, in one case or for a known group"),
    ("7-8", "strong, with figures or several sources"),
    ("9-10", "exceptional: at scale, lasting, independently borne out"),
)
_LANGUAGES = {
    "en": "English", "nl": "Dutch", "es": "Spanish", "pt": "Portuguese", "de": "German", "fr": "French",
    "it": "Italian",
}  # fmt: skip
_SHA256 = re.compile(r'^prompt_sha256 = "[0-9a-f]{64}"$', re.MULTILINE)


def write_filter(draft: Draft, filters: Path) -> Path:
    """Write `<filters>/<name>/v1`, whole or not at all, and return it.

    Raises:
        SettingError: when the filter exists.
        SpecError: when the draft breaks a rule.
    """
    home = filters / draft.name
    if home.exists():
        raise SettingError(f"{home} exists and is left as it is; choose another name, or go on in that folder")
    pattern = pattern_lens(filters)
    problem = draft_problem(
        pattern, name=draft.name, lens=draft.lens, dimensions=tuple(draft.dimensions), gate=draft.gate,
        languages=tuple(draft.languages), licence=draft.licence,
    )  # fmt: skip
    if problem:
        raise SpecError(f"{draft.name}: {problem}")
    prompt = _prompt(draft)
    filters.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=filters, prefix=f".{draft.name}."))
    try:
        folder = partial / "v1"
        folder.mkdir()
        write_text(folder / "prompt.md", prompt)
        digest = hashlib.sha256(prompt.encode()).hexdigest()
        write_text(folder / "filter.toml", _spec(draft, pattern, digest))
        write_text(folder / "CHECKLIST.md", _fill("checklist.md", name=draft.name, filters=filters_option(filters)))
        read_lens_spec(folder / "filter.toml")
        partial.chmod(0o755)
        partial.rename(home)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return home / "v1"


def seal(folder: Path) -> str:
    """Take the prompt as it is now into a spec that is not trained yet; returns its SHA-256.

    Raises:
        SpecError: when spec and prompt do not belong together, or there are checkpoints of the old prompt.
    """
    path = folder / "filter.toml"
    lens, text = read_lens_spec(path), path.read_text(encoding="utf-8")
    if not (folder / "prompt.md").is_file():
        raise SpecError(f"{folder / 'prompt.md'}: no such file")
    prompt = (folder / "prompt.md").read_bytes()
    if problems := prompt_problems(prompt.decode("utf-8", "replace"), lens):
        raise SpecError(f"{folder / 'prompt.md'}: {'; '.join(problems)}")
    digest = hashlib.sha256(prompt).hexdigest()
    if digest == lens.prompt_sha256:
        return digest
    if "[checkpoints" in text:
        raise SpecError(
            f"{path} has checkpoints, trained under the prompt {lens.prompt_sha256[:12]}...: a changed prompt is a "
            "new MAJOR version. Copy the folder, without its [checkpoints], to the next v<major>"
        )
    sealed, count = _SHA256.subn(f'prompt_sha256 = "{digest}"', text)
    if count != 1:
        raise SpecError(f'{path}: write the line prompt_sha256 = "{digest}" by hand')
    write_text(path, sealed)
    return digest


def _spec(draft: Draft, pattern: LensSpec, prompt_sha256: str) -> str:
    reads = pattern.preprocessing
    head = {
        "name": draft.name, "version": "1.0.0", "lens": draft.lens, "languages": list(draft.languages),
        "licence": draft.licence, "engine": pattern.engine, "prompt_sha256": prompt_sha256,
        "default_checkpoint": draft.checkpoint or pattern.default_checkpoint,
    }  # fmt: skip
    parts = [("", head)]
    parts += [("[[dimensions]]", each.model_dump()) for each in draft.dimensions]
    parts += [("[gate]", draft.gate.model_dump())] if draft.gate else []
    parts += [("[[tiers]]", each.model_dump()) for each in pattern.tiers]
    parts += [("[preprocessing]", reads.model_dump()), ("[oracle]", pattern.oracle.model_dump())]
    written = []
    for header, fields in parts:
        # JSON's strings, lists of strings, and numbers are TOML's.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
        written.append("\n".join([*([header] if header else []), *lines]))
    return "\n\n".join(written) + "\n"


def _prompt(draft: Draft) -> str:
    answer = {"in_scope": True, "dimensions": {each.name: {"score": 0.0, "evidence": ""} for each in draft.dimensions}}
    return _fill(
        "prompt.md",
        title=draft.name.replace("_", " "),
        lens=draft.lens,
        languages=_listed([_LANGUAGES.get(code, code) for code in draft.languages]),
        in_scope=draft.in_scope,
        out_of_scope=draft.out_of_scope,
        look_alikes="\n".join(f"- {each.what}: at most {each.cap:.1f}" for each in draft.look_alikes),
        dimensions="\n\n".join(map(_dimension, draft.dimensions)),
        gate=_gate(draft.gate),
        answer=json.dumps(answer, indent=2),
    )


def _gate(gate: Gate | None) -> str:
    if gate is None:
        return "None: score the dimensions as they are."
    return (
        f"Where {gate.dimension} is under {gate.below:g}, the weighted average counts as {gate.ceiling:.1f} at most. "
        "The gate is applied afterwards by the library: score the dimensions as they are."
    )


def _dimension(each: Dimension) -> str:
    anchors = "\n".join(f"- {range_}: {meaning}" for range_, meaning in _ANCHORS)
    return f"### {each.name} (weight {each.weight:.2f})\n\n{_sentence(each.question)}\n\n{anchors}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _fill(template: str, **parts: str) -> str:
    return Template(importlib.resources.files(__package__).joinpath(template).read_text("utf-8")).substitute(parts)
