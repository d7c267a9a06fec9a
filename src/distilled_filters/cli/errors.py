"""How a command ends that cannot go on: one line on stderr and an exit code, never a traceback.

Exit codes: 0 done; 1 done, with findings; 2 wrong usage, or an error that has a name;
130 interrupted; 141 the reader of a pipe went away.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from distilled_filters.errors import DistilledFiltersError

__all__ = ["FINDINGS", "fail", "reported_errors"]

FINDINGS = 1
_ERROR = 2
_INTERRUPTED = 130
_BROKEN_PIPE = 141


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn warnings and named errors into one line each, and errors into exit codes."""
    with warnings.catch_warnings():
        # The library's own warnings are for whoever sits here, each time; others keep their filters.
        warnings.filterwarnings("always", module=r"distilled_filters\.")
        warnings.showwarning = _show_warning
        try:
            yield
            sys.stdout.flush()
        except (KeyboardInterrupt, typer.Abort) as error:
            # A prompt turns the one into the other.
            fail(f"interrupted{f'; {error}' if str(error) else ''}", label="", code=_INTERRUPTED)
        except BrokenPipeError:
            _discard_stdout()
            raise typer.Exit(_BROKEN_PIPE) from None
        except (DistilledFiltersError, OSError) as error:
            fail(str(error))


def fail(message: str, *, label: str = "error: ", code: int = _ERROR) -> None:
    """Print one line and end the command.

    Raises:
        typer.Exit: always.
    """
    typer.secho(label + " ".join(message.split()), fg=typer.colors.RED, err=True)
    raise typer.Exit(code) from None


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.secho("warning: " + " ".join(str(message).split()), fg=typer.colors.YELLOW, err=True)


def _discard_stdout() -> None:
    """Send what Python still holds for a reader who is gone, as after `| head`, to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
