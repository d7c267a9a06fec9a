"""The Hugging Face Hub through its own client: one file down, and what went wrong in plain words.

Endpoint, cache, proxies, token and time-outs are the client's own settings: `HF_ENDPOINT`,
`HF_HUB_CACHE`, `HTTPS_PROXY`, `HF_TOKEN` or `hf auth login`, `HF_HUB_DOWNLOAD_TIMEOUT`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distilled_filters.errors import ChecksumError, HubError
from distilled_filters.spec import FileRef, HubSource

__all__ = ["Progress", "cached", "download", "explained", "quiet", "redacted"]

Progress = Callable[[int], object]
"""Called with the number of bytes that came; negative where a transfer had to begin again."""

# Seconds before another try. The client itself takes up a body that broke off, and waits as a 429 tells it to.
_WAITS = (0.5, 1.0, 2.0, 4.0)
# An ETag becomes a file name in the cache; a mirror's must not lead out of it.
_SAFE_ETAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
# The user and password of a URL, its query (signed links), and what stands in an Authorization header.
_SECRETS = re.compile(r"(?<=://)[^/@\s]+(?=@)|\?[^\s'\"<>]*=[^\s'\"<>]*|(?<=[Bb]earer )[^'\"]+|\bhf_\w{6,}")


def cached(ref: FileRef, source: HubSource) -> Path | None:
    """Return where a file of a commit lies in the local cache, None where it does not; asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repo, ref.path, revision=source.revision)
    return Path(found) if isinstance(found, str) else None


def download(ref: FileRef, source: HubSource, progress: Progress | None = None) -> Path:
    """Bring a file at its commit into the local cache; its bytes are the caller's to check.

    Never takes more bytes than the spec says. Failures that may pass are tried again, with growing waits.

    Raises:
        HubError: with the cause and its remedy; no token and no signed link stands in it.
        ChecksumError: when the Hub's file has another size than the spec says.
    """
    came = 0

    def count(more: int) -> None:
        nonlocal came
        came += more
        if progress is not None:
            progress(more)

    for wait in (*_WAITS, None):
        if came:
            count(-came)
        try:
            with quiet():
                return _download(ref, source, count)
        except (ChecksumError, HubError):
            raise
        except Exception as error:  # the client's HTTP library, and with it the classes, changes between releases
            if wait is None or not _may_pass(error):
                raise HubError(
                    f"could not fetch {ref.path} from {source.repo}: {explained(error, source.repo)}"
                ) from _safe(error)
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def explained(error: Exception, repo: str) -> str:
    """Return what the Hub, or the way to it, got wrong about a repository, and what mends it."""
    from huggingface_hub import errors, get_token

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it"
    if isinstance(error, errors.LocalEntryNotFoundError | RuntimeError) and isinstance(error.__cause__, Exception):
        return explained(error.__cause__, repo)  # the client's own wrappers
    status = _status(error)
    if isinstance(error, errors.GatedRepoError):
        page = f"{_endpoint()}/{repo}"
        return f"the repository is gated ({status}); accept its terms at {page}, then {_LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such commit (404); it was rewritten, or the filter's spec names another one"
    if isinstance(error, errors.EntryNotFoundError):
        return "the commit has no such file (404); the filter was not published whole"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or a private one ({status}); mind its spelling, or {_LOG_IN}"
    if status == 401:
        return f"{'the Hub does not accept this token' if get_token() else 'nobody is logged in'} (401); {_LOG_IN}"
    if status == 403:
        return f"this token may not do that (403); use one with the permission, from {_endpoint()}/settings/tokens"
    if status == 429:
        return "too many requests (429); wait some minutes, or log in for a higher limit"
    if status is not None and status >= 500:
        return f"the Hub is in trouble ({status}); try again later"
    if status is None and not isinstance(error, OSError | ValueError):
        return f"{_endpoint()} cannot be reached ({redacted(_line(error))}); check network, HF_ENDPOINT and proxies"
    return redacted(_line(error))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the client's chatter down, which names signed links, and its bars where nobody looks."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    unseen = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not sys.stderr.isatty()
    logger.setLevel(logging.ERROR)
    if unseen:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if unseen:
            enable_progress_bars()


def redacted(text: str) -> str:
    """Return text without tokens, passwords and signed queries."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(variable, "").strip():
            text = text.replace(token, "***")
    return _SECRETS.sub("***", text)


_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN, as somebody who may"


def _download(ref: FileRef, source: HubSource, progress: Progress) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    offered = get_hf_file_metadata(hf_hub_url(source.repo, ref.path, revision=source.revision))
    if offered.size is not None:
        _refuse_size(ref, offered.size)
    if offered.commit_hash != source.revision or not _SAFE_ETAG.fullmatch(offered.etag or ""):
        raise HubError(
            f"could not fetch {ref.path} from {source.repo}: {_endpoint()} does not answer as the Hub does "
            f"(commit {offered.commit_hash!r}, ETag {offered.etag!r}); check HF_ENDPOINT"
        )
    hf_hub_download(source.repo, ref.path, revision=source.revision, tqdm_class=_meter(ref, progress))
    path = cached(ref, source)
    if path is None:
        raise HubError(f"{ref.path} of {source.repo} did not arrive in the cache; check HF_HUB_CACHE")
    return path


def _meter(ref: FileRef, progress: Progress) -> type[Any]:
    """Return what the client takes for a progress bar: it counts, tells, and ends a transfer that is too long."""
    from huggingface_hub import utils

    bar: Any = utils.tqdm  # type: ignore[attr-defined]

    class Meter(bar):  # type: ignore[misc]
        def __init__(self, *arguments: Any, total: int | None = None, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "total": total, "disable": True})
            self.came = int(options.get("initial") or 0)
            if total is not None:
                _refuse_size(ref, total)

        def update(self, n: float | None = 1) -> None:
            self.came += int(n or 0)
            if self.came > ref.size:
                raise ChecksumError(f"{ref.path}: the Hub sends more than the {ref.size:,} bytes the spec says")
            progress(int(n or 0))

        def update_transfer(self, n: float | None = 1) -> None:
            """The client counts bytes on the wire apart from those of the file; these are not counted."""

        def set_transfer_postfix_str(self, *_: Any, **__: Any) -> None:
            """As above."""

    return Meter


def _refuse_size(ref: FileRef, size: int) -> None:
    if size != ref.size:
        raise ChecksumError(f"{ref.path}: the Hub offers {size:,} bytes, the spec says {ref.size:,}")


def _may_pass(error: Exception) -> bool:
    """Tell whether another try makes sense: servers in trouble and broken lines, never a refusal."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return False
    status = _status(error)
    if status is not None:
        return status >= 500 or status == 408
    # What is left: the HTTP library's network errors, which are no OSError, and the client's "consistency check".
    return not isinstance(error, OSError | ValueError) or "onsistency check" in str(error)


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _safe(error: Exception) -> Exception | None:
    """Return the cause to show below an error: None where its own text would give a secret away."""
    return error if redacted(str(error)) == str(error) else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _endpoint() -> str:
    from huggingface_hub import constants

    return redacted(constants.ENDPOINT)
