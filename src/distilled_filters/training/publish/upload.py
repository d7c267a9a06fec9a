"""A filter to the Hub in one commit, read back and scored before its spec names the commit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tomlkit

from distilled_filters.errors import HubError
from distilled_filters.files import write_text
from distilled_filters.hub import explained, quiet, redacted
from distilled_filters.spec import HubSource
from distilled_filters.training.publish.bundle import Bundle, PublishError, read_bundle
from distilled_filters.training.publish.pins import pinned, unpinned

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Outcome", "Plan", "plan", "publish"]

_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Plan:
    """What a publication sends: every file of the commit by its name there, as a path or as bytes."""

    bundle: Bundle
    repo: str
    files: Mapping[str, Path | bytes]
    brings_backbone: bool

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }


@dataclass(frozen=True)
class Outcome:
    """What came of it: the commit, whether it is a new one, and the specs that name it now."""

    revision: str
    new: bool
    pinned: tuple[Path, ...]


def plan(folder: Path, repo: str) -> Plan:
    """Check a filter folder and say what would be uploaded; no network.

    Raises:
        PublishError: when the folder is not fit to be published, or `repo` is no `owner/name`.
    """
    if not _REPO.fullmatch(repo):
        raise PublishError(f"{repo!r} is not a repository of the Hub such as org/name")
    bundle = read_bundle(folder, from_cache=True)
    first, *others = bundle.backbones
    # A filter on a backbone that another repository has already points there.
    brings_backbone = first.spec.hub is None or first.spec.hub.repo == repo
    for other in others:
        if other.spec.hub is None:
            raise PublishError(
                f"{other.name}, which a checkpoint of {bundle.filter.name} needs, lies on no Hub, and a repository "
                f"holds one model beside its filter, {first.name}; upload that model to a repository of its own, and "
                f"name repo and revision as [hub] in {other.files['backbone.toml']}"
            )
    files: dict[str, Path | bytes] = {
        **bundle.pages,
        **bundle.weights,
        "filter.toml": unpinned(bundle.pages["filter.toml"]),
        "README.md": (_front_matter(bundle) + bundle.pages["CARD.md"].read_text(encoding="utf-8")).encode(),
    }
    del files["CARD.md"]
    if brings_backbone:
        files |= first.files
        files["backbone.toml"] = unpinned(first.files["backbone.toml"])
    return Plan(bundle, repo, files, brings_backbone)


def publish(wanted: Plan, *, private: bool = False) -> Outcome:
    """Upload what was planned in one commit, verify it from a clean cache, and pin it in the specs.

    Raises:
        HubError: when the Hub refuses or cannot be reached; nothing is pinned.
        PublishError: when the repository is another filter's or is public against `private`, or
            when what came back is not what was sent; the specs stay as they were.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    each, repo = wanted.bundle.filter, wanted.repo
    api = HfApi(library_name="distilled-filters")
    with _explained(f"{each.name}: could not publish to {repo}", repo):
        api.create_repo(repo, private=private, exist_ok=True)
        before = api.model_info(repo)
        if private and not before.private:
            raise PublishError(f"{repo} exists and is public; choose another repository, or publish without --private")
        _refuse_foreign(api, wanted, [sibling.rfilename for sibling in before.siblings or ()])
        revision = api.create_commit(
            repo,
            [CommitOperationAdd(name, content) for name, content in wanted.files.items()],
            commit_message=f"{each.name} {each.version}",
            parent_commit=before.sha,
        ).oid
    outcome = Outcome(revision, revision != before.sha, ())
    pins = _pins(wanted, revision)
    if all(path.read_text(encoding="utf-8") == text for path, text in pins.items()):
        return outcome
    problem = _problem(wanted, pins)
    if problem is not None:
        raise PublishError(
            f"{each.name}: commit {revision} of {repo} does not come back as it was sent, so the spec stays as it "
            f"was: {problem}"
        )
    for path, text in pins.items():
        write_text(path, text)
    return Outcome(revision, outcome.new, tuple(pins))


@contextmanager
def _explained(what: str, repo: str) -> Iterator[None]:
    """Turn whatever the Hub's client raises into one error with its remedy."""
    with quiet():
        try:
            yield
        except PublishError:
            raise
        except Exception as error:  # the client's HTTP library, and with it the classes, changes between releases
            raise HubError(f"{what}: {explained(error, repo)}") from None


def _refuse_foreign(api: HfApi, wanted: Plan, present: list[str]) -> None:
    """Never write over somebody else's model: a repository is new, or this very filter's."""
    name = wanted.bundle.filter.name
    if not set(present) - {".gitattributes", "README.md"}:
        return
    if "filter.toml" in present:
        there = tomlkit.parse(Path(api.hf_hub_download(wanted.repo, "filter.toml")).read_text(encoding="utf-8"))
        if there.get("name") == name:
            return
    raise PublishError(f"{wanted.repo} holds something else than the filter {name}; choose a repository of its own")


def _pins(wanted: Plan, revision: str) -> dict[Path, str]:
    """Return the specs as they should be once the commit is proved, by path."""
    source = HubSource(repo=wanted.repo, revision=revision)
    # The backbone first: a filter that names a commit must find its backbone there.
    paths = [wanted.bundle.backbones[0].files["backbone.toml"]] if wanted.brings_backbone else []
    return {path: pinned(path, source) for path in (*paths, wanted.bundle.pages["filter.toml"])}


def _problem(wanted: Plan, pins: Mapping[Path, str]) -> str | None:
    """Say what is wrong with the commit as a consumer gets it: specs here, every weight from the Hub."""
    each = wanted.bundle.filter
    with tempfile.TemporaryDirectory(prefix="distillery-publish-") as scratch:
        folder = Path(scratch, "filters", each.name, each.folder.name)
        backbones = Path(scratch, "filters", "backbones")
        shared = ((backbones / one.name, one.files) for one in wanted.bundle.backbones)
        for home, pages in ((folder, wanted.bundle.pages), *shared):
            home.mkdir(parents=True)
            for path in pages.values():
                if path.suffix in (".toml", ".jsonl"):
                    text = pins.get(path) or path.read_text(encoding="utf-8")
                    (home / path.name).write_text(text, encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-P", "-m", "distilled_filters.training.publish.check", str(folder)],
            env={**os.environ, "HF_HUB_CACHE": str(Path(scratch, "cache")), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            capture_output=True,
            text=True,
        )
    if run.returncode != 0:
        return redacted(run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"exit code {run.returncode}")
    problem: str | None = json.loads(run.stdout.splitlines()[-1])["problem"]
    return problem


def _front_matter(bundle: Bundle) -> str:
    """Return what the Hub reads of a card: licence, languages, base model."""
    from huggingface_hub import ModelCardData

    spec, base = bundle.filter.spec, _REPO.match(bundle.backbones[0].spec.base)
    data = ModelCardData(
        language=list(spec.languages),
        license=spec.licence.lower(),
        library_name="distilled-filters",
        pipeline_tag="text-classification",
        tags=["distilled-filters", "distillation", "news"],
        base_model=base[0] if base else None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n"
