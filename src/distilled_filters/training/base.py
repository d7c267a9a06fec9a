"""The base encoder a student starts from: a folder, or a model on the Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer

from distilled_filters.errors import SettingError
from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import Preprocessing

__all__ = ["encoder_reader", "tokenizer_file"]


def encoder_reader(base: str, settings: Preprocessing) -> Preprocessor:
    """Return what reads articles for students of a base encoder.

    Raises:
        SettingError: as `tokenizer_file` does.
    """
    return Preprocessor(settings, Tokenizer.from_file(str(tokenizer_file(base))))


def tokenizer_file(base: str) -> Path:
    """Return the `tokenizer.json` of a base encoder, a folder or a Hub id.

    Raises:
        SettingError: when there is neither, or the folder has no tokenizer.
    """
    folder = Path(base)
    if folder.is_dir():
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise SettingError(
                f"the base encoder {base} has no tokenizer.json; write one there with "
                f"transformers.AutoTokenizer.from_pretrained(ID).save_pretrained({base!r})"
            )
        return path
    try:
        return Path(hf_hub_download(base, "tokenizer.json"))
    except HFValidationError as error:
        raise SettingError(f"no base encoder {base!r}: there is no such folder, and it is no Hub id") from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise SettingError(
            f"no base encoder {base!r}: there is no such folder, and the Hub gave no tokenizer.json for such an id "
            f"({type(error).__name__}). Check the spelling and the network, or give a folder"
        ) from error
