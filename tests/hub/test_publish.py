"""`distillery publish`: one commit with the complete set, proved before the spec names it."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from distilled_filters.cards import card
from distilled_filters.checkpoints import sha256_of
from distilled_filters.errors import HubError, MissingFileError
from distilled_filters.filter import Filter
from distilled_filters.golden import check_golden
from distilled_filters.training.publish import bundle, check, upload
from distilled_filters.training.publish.bundle import PublishError
from distilled_filters.training.publish.upload import plan, publish
from tests.cli.conftest import Run
from tests.compositions import add_cascade
from tests.conftest import SNIPPET, House, edited, file_ref, flip_byte
from tests.hub.conftest import REPO, WEIGHTS
from tests.hub.server import READER, WRITER, Hub
from tests.language_models import CHECKPOINT, add_expert

# The client gives a file to its HTTP library in a way that is going out of use there.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SET = {"filter.toml", "prompt.md", "golden.jsonl", "metrics.json", "README.md", *WEIGHTS}
BACKBONE = {"backbone.toml", "model.onnx", "tokenizer.json"}


@pytest.fixture(autouse=True)
def _writer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)


@pytest.fixture
def unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take golden scores for granted, here and in the process of its own that proves a commit: they take time."""
    monkeypatch.setattr(bundle, "check_golden", lambda each: [])
    monkeypatch.setattr(upload, "_problem", lambda wanted, pins: None)


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def sent(hub: Hub, repo: str = REPO) -> dict[str, bytes]:
    """The files of the last commit."""
    return hub.repos[repo].commits[-1][1]


@pytest.fixture
def light(author: Path, hub: Hub) -> Path:
    """A finished filter over a backbone that another repository of the Hub has already."""
    backbone = Filter(author, threads=1).backbone_folder
    files = {name: (backbone / name).read_bytes() for name in ("model.onnx", "tokenizer.json")}
    revision = hub.offer("example/me5-small", files)
    with edited(backbone / "backbone.toml") as spec:
        spec["hub"] = {"repo": "example/me5-small", "revision": revision}
    return author


def test_publish_delete_cache_offline_prefetch_score(
    author: Path, hub: Hub, distillery: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole life of a Hub filter, from the author's folder to a score at a consumer's who has the specs alone."""
    done = distillery("publish", str(author), "--repo", REPO, "--yes", "--json")
    assert done.exit_code == 0, done.output
    revision = json.loads(done.stdout)["revision"]
    source = {"repo": REPO, "revision": revision}
    backbone = author.parents[1] / "backbones" / "me5_small" / "v1"
    assert toml(author / "filter.toml")["checkpoints"]["me5_small"]["hub"] == source
    assert toml(backbone / "backbone.toml")["hub"] == source
    for path in [author / name for name in WEIGHTS] + [backbone / "model.onnx", backbone / "tokenizer.json"]:
        path.unlink()
    shutil.rmtree(Path(constants.HF_HUB_CACHE), ignore_errors=True)
    assert hub.count("PUT /storage") == 2, "head and model"
    hub.asked.clear()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        MissingFileError, match=r"uplifting==1\.0\.0: head\.safetensors is not in the cache; run `distillery prefetch"
    ):
        Filter(author, threads=1).score(SNIPPET)
    with pytest.raises(
        MissingFileError, match="HF_HUB_OFFLINE is set; unset it and run `distillery prefetch uplifting"
    ):
        Filter(author, threads=1).prefetch()
    assert hub.asked == []

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert len(Filter(author, threads=1).prefetch()) == 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert check_golden(Filter(author, threads=1)) == []


def test_one_commit_holds_the_complete_set_and_nothing_else(author: Path, hub: Hub, unproved: None) -> None:
    (author / "notes.txt").write_text("mine")
    (author / ".env").write_text(f"HF_TOKEN={WRITER}")
    before = (author / "filter.toml").read_text()
    publish(plan(author, REPO))
    assert len(hub.repos[REPO].commits) == 2, "the repository's first, and one"
    files = sent(hub)
    assert set(files) - {".gitattributes"} == SET | BACKBONE
    assert [name for name, content in files.items() if WRITER.encode() in content] == []
    assert tomllib.loads(files["filter.toml"].decode()) == tomllib.loads(before), "files lie beside the spec there"
    page = files["README.md"].decode()
    assert page.endswith(card(author))
    for part in ("license: apache-2.0", "- nl", "library_name: distilled-filters", "| oracle |"):
        assert part in page


def test_a_backbone_the_hub_has_already_is_not_sent(light: Path, hub: Hub, unproved: None) -> None:
    outcome = publish(plan(light, REPO))
    assert set(sent(hub)) - {".gitattributes"} == SET
    assert outcome.pinned == (light / "filter.toml",)
    assert sha256_of(light / "head.safetensors") in hub.objects


def test_an_expert_travels_in_its_folder_and_its_language_model_must_lie_on_the_hub(
    light: Path, hub: Hub, distillery: Run, unproved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    house = House(light.parents[1])
    add_cascade(add_expert(house), [(0.0, 10.0)])
    model = house.root / "backbones" / "tiny_lm" / "v1"
    with pytest.raises(PublishError, match=r"tiny_lm/v1, which a checkpoint of uplifting needs, lies on no Hub"):
        plan(light, REPO)
    names = ("config.json", "tokenizer.json", "model.safetensors")
    revision = hub.offer("example/tiny-lm", {name: (model / name).read_bytes() for name in names})
    with edited(model / "backbone.toml") as spec:
        spec["hub"] = {"repo": "example/tiny-lm", "revision": revision}
    for name in names:
        (model / name).unlink()
    publish(plan(light, REPO))
    adapter = {f"{CHECKPOINT}/{name}" for name in ("adapter_model.safetensors", "adapter_config.json", *WEIGHTS)}
    assert set(sent(hub)) - {".gitattributes"} == SET | adapter | {"cascade/cascade.json"}
    monkeypatch.setattr(check, "check_golden", lambda each: [])
    hub.asked.clear()
    assert check.main(light) is None
    assert not [line for line in hub.asked if "tiny-lm" in line], "a language model is not fetched to prove an adapter"

    for checkpoint in (CHECKPOINT, "cascade"):
        shutil.rmtree(light / checkpoint)
    shutil.rmtree(Path(constants.HF_HUB_CACHE), ignore_errors=True)
    house.use(monkeypatch)
    assert distillery("prefetch", "uplifting", "--local-files-only").exit_code == 0, "the student has its files"
    assert distillery("validate", "uplifting").exit_code == 0, "nobody asked for the expert yet"
    asked = ("prefetch", "uplifting", "--checkpoint", CHECKPOINT)
    cold = distillery(*asked, "--local-files-only")
    assert (cold.exit_code, f"run `distillery prefetch uplifting==1.0.0 --checkpoint {CHECKPOINT}`" in cold.stdout) == (
        1,
        True,
    )
    done = distillery(*asked, "--json")
    assert len(json.loads(done.stdout)[0]["files"]) == 8
    cascade = Filter(light, checkpoint="cascade", threads=1, device="cpu")
    with pytest.raises(
        MissingFileError, match=r"cascade\.json is not in the cache; run `distillery prefetch uplifting"
    ):
        cascade.load()
    brought = json.loads(distillery("prefetch", "uplifting", "--checkpoint", "cascade", "--json").stdout)[0]["files"]
    assert len(brought) == 9, "its own file, and the expert's"
    for each in (cascade, Filter(light, checkpoint=CHECKPOINT, threads=1, device="cpu")):
        assert each.score(SNIPPET).stage == "expert"
        each.unload()
    unknown = distillery("prefetch", "--checkpoint", "none")
    assert unknown.exit_code == 2
    assert "no installed filter has a checkpoint 'none'" in unknown.stderr


def test_the_same_bytes_again_make_no_commit(light: Path, hub: Hub, distillery: Run, unproved: None) -> None:
    first = publish(plan(light, REPO))
    pinned = (light / "filter.toml").read_text()
    again = publish(plan(light, REPO))
    assert (first.new, again.new, again.revision, again.pinned) == (True, False, first.revision, ())
    assert (light / "filter.toml").read_text() == pinned
    done = distillery("publish", str(light), "--repo", REPO, "--yes")
    assert f"unchanged, no new commit: {first.revision}" in done.stdout
    assert len(hub.repos[REPO].commits) == 2


def test_what_does_not_come_back_as_it_was_sent_is_not_pinned(light: Path, hub: Hub, distillery: Run) -> None:
    before = (light / "filter.toml").read_bytes()
    hub.fault("GET /storage", flip=True, times=99)
    done = distillery("publish", str(light), "--repo", REPO, "--yes")
    assert done.exit_code == 2
    for part in ("does not come back as it was sent, so the spec stays as it was", "head.safetensors", "SHA-256"):
        assert part in done.stderr
    assert (light / "filter.toml").read_bytes() == before
    hub.faults.clear()
    outcome = publish(plan(light, REPO))
    assert not outcome.new, "the commit is there; now it is proved"
    assert (light / "filter.toml").read_bytes() != before


def test_a_public_repository_is_not_taken_for_a_private_one(light: Path, hub: Hub, unproved: None) -> None:
    publish(plan(light, REPO), private=True)
    assert hub.repos[REPO].private
    hub.offer("example/open", {".gitattributes": b""})
    with pytest.raises(PublishError, match="exists and is public"):
        publish(plan(light, "example/open"), private=True)


def test_somebody_else_s_repository_is_not_written_over(light: Path, hub: Hub) -> None:
    hub.offer(REPO, {"config.json": b"{}"})
    with pytest.raises(PublishError, match="holds something else than the filter uplifting"):
        publish(plan(light, REPO))
    hub.offer("example/belonging", {"filter.toml": b'name = "belonging"'})
    with pytest.raises(PublishError, match="holds something else"):
        publish(plan(light, "example/belonging"))
    assert hub.count("POST .*commit") == 0


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (READER, r"this token may not do that \(403\)"),
        ("", r"nobody is logged in \(401\); log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_wrong0123456789abcdef", r"does not accept this token \(401\); log in"),
    ],
)
def test_who_may_not_write_is_told_so(
    light: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    before = (light / "filter.toml").read_bytes()
    with pytest.raises(HubError, match=said) as caught:
        publish(plan(light, REPO))
    assert not token or token not in str(caught.value)
    assert (light / "filter.toml").read_bytes() == before


@pytest.mark.parametrize("where", ["POST .*preupload", "POST .*batch", "PUT /storage", "POST .*commit"])
def test_an_upload_that_breaks_leaves_the_spec_alone(light: Path, hub: Hub, where: str, unproved: None) -> None:
    before = (light / "filter.toml").read_bytes()
    hub.fault(where, status=500, times=99)
    with pytest.raises(
        HubError, match=r"uplifting: could not publish to example/uplifting: .*\(500\); try again later"
    ):
        publish(plan(light, REPO))
    assert (light / "filter.toml").read_bytes() == before
    hub.faults.clear()
    assert publish(plan(light, REPO)).new


def test_a_dry_run_sends_nothing_and_nobody_is_published_unasked(light: Path, hub: Hub, distillery: Run) -> None:
    shown = distillery("publish", str(light), "--repo", REPO, "--dry-run")
    assert shown.exit_code == 0, shown.output
    for name in SET:
        assert name in shown.stdout
    assert hub.asked == []
    unasked = distillery("publish", str(light), "--repo", REPO)
    assert unasked.exit_code == 2
    assert "pass --yes" in unasked.stderr
    assert hub.asked == []


def _prompt_secret(folder: Path) -> None:
    path = folder / "prompt.md"
    path.write_text(path.read_text() + "\nkey: hf_abcdefghijklmnopqrstuvwxyz\n")
    with edited(folder / "filter.toml") as spec:
        spec["prompt_sha256"] = sha256_of(path)


def _link(folder: Path) -> None:
    (folder.parent / "elsewhere.json").write_text("{}")
    (folder / "metrics.json").unlink()
    (folder / "metrics.json").symlink_to(folder.parent / "elsewhere.json")


def _pickle(folder: Path) -> None:
    (folder / "head.safetensors").rename(folder / "head.bin")
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["head"] = file_ref(folder / "head.bin")


def _golden(folder: Path) -> None:
    path = folder / "golden.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0]["expected"]["weighted_average"] += 1
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), r"metrics\.json is missing; a filter travels whole"),
        (lambda folder: (folder / "CARD.md").write_text("# old"), r"CARD\.md is stale; run `distillery cards`"),
        (lambda folder: (folder / "prompt.md").write_text("another"), r"prompt\.md is not the prompt"),
        (lambda folder: flip_byte(folder / "head.safetensors"), r"head\.safetensors has SHA-256"),
        (_prompt_secret, r"prompt\.md holds what looks like a secret \(hf_abc\.\.\.\)"),
        (_link, r"metrics\.json is a link"),
        (_pickle, r"head\.bin is neither safetensors nor ONNX nor JSON"),
        (_golden, r"golden\.jsonl: 1 values off"),
    ],
)
def test_a_filter_that_is_not_fit_stays_at_home(light: Path, hub: Hub, damage: Any, said: str) -> None:
    damage(light)
    with pytest.raises((PublishError, OSError), match=said):
        plan(light, REPO)
    assert hub.asked == []


def test_a_repository_has_an_owner_and_a_name(light: Path) -> None:
    with pytest.raises(PublishError, match="is not a repository of the Hub such as org/name"):
        plan(light, "uplifting")
