"""The language model an expert starts from: a folder, or a model on the Hub at one commit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer

from distilled_filters.errors import SettingError
from distilled_filters.hub import explained, quiet

__all__ = ["LanguageModel", "find_language_model", "from_hub"]

_FILES = ("config.json", "tokenizer.json", "*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class LanguageModel:
    """A language model's files, and the tokens around a window.

    `revision` is the Hub's full commit hash, None for a folder.
    """

    name: str
    folder: Path
    revision: str | None
    weights: tuple[Path, ...]
    max_tokens: int
    start: str | None
    end: str
    pad: str

    @property
    def config(self) -> Path:
        """Its `config.json`."""
        return self.folder / "config.json"

    @property
    def tokenizer(self) -> Path:
        """Its `tokenizer.json`."""
        return self.folder / "tokenizer.json"


def find_language_model(base: str, revision: str | None = None) -> LanguageModel:
    """Return the files of a base model, a folder or a Hub id; downloads what is not in the cache.

    The environment's `HF_TOKEN` opens gated models.

    Raises:
        SettingError: when there is no such model, or a file is missing.
    """
    folder, commit = (Path(base), None) if Path(base).is_dir() else from_hub(base, revision, _FILES, "language model")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise SettingError(
                f"the language model {base} has no {name}; a GGUF file becomes such a folder with "
                "`distillery convert FILE.gguf --output FOLDER`"
            )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    first, last, filler = (_token(tokenizer, config.get(f"{role}_token_id")) for role in ("bos", "eos", "pad"))
    if last is None:
        raise SettingError(f"the config of {base} names no eos_token_id; an expert reads its answer at that token")
    begins = tokenizer.encode("a").ids[:1] == [config.get("bos_token_id")]
    return LanguageModel(
        name=base,
        folder=folder,
        revision=commit,
        weights=_weights(folder, base),
        max_tokens=int(config["max_position_embeddings"]),
        start=first if begins else None,
        end=last,
        pad=filler or last,
    )


def from_hub(repo: str, revision: str | None, files: Sequence[str], what: str) -> tuple[Path, str]:
    """Return where files of a repository lie in the Hub's cache, downloaded where they are not, and their commit.

    Raises:
        SettingError: naming `what` there is none of, and the remedy.
    """
    try:
        with quiet():
            folder = Path(snapshot_download(repo, revision=revision, allow_patterns=list(files)))
    except HFValidationError as error:
        raise SettingError(f"no {what} {repo!r}: there is no such folder, and it is no Hub id") from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise SettingError(
            f"no {what} {repo!r}: there is no such folder, and from the Hub: {explained(error, repo)}"
        ) from error
    if not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        raise SettingError(f"the Hub's cache does not tell the commit of {repo}: {folder}")
    return folder, folder.name


def _weights(folder: Path, base: str) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        shards = ["model.safetensors"]
    missing = [name for name in shards if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise SettingError(f"the language model {base} lacks {', '.join(missing)}; only safetensors are read")
    return tuple(folder / name for name in shards)


def _token(tokenizer: Tokenizer, identifier: Any) -> str | None:
    if isinstance(identifier, list):
        identifier = identifier[0]
    return None if identifier is None else tokenizer.id_to_token(identifier)
