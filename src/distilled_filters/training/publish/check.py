"""What a consumer gets, in a process of its own: files from the Hub into an empty cache, golden scores.

Run by `publish` as `python -m distilled_filters.training.publish.check FOLDER`, so that nothing
that is open already, no cached file and no local copy can stand in for the published ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from distilled_filters.checkpoints import fetch
from distilled_filters.errors import DistilledFiltersError
from distilled_filters.filter import Filter
from distilled_filters.golden import check_golden

__all__ = ["main"]


def main(folder: Path) -> str | None:
    """Fetch every checkpoint's files and score the golden articles; return what is wrong, None if nothing."""
    try:
        each = Filter(folder, threads=1)
        each.prefetch()
        for entry in each.spec.checkpoints.values():
            # What another checkpoint is built on lies elsewhere, and was not sent.
            if entry.hub is not None:
                for ref in entry.files:
                    fetch(ref, entry.hub, each.name)
        deviations = check_golden(each)
    except (DistilledFiltersError, OSError) as error:
        return str(error)
    if deviations:
        first = deviations[0]
        return (
            f"{len(deviations)} golden values differ, as {first.field} of {first.article}: {first.found}, "
            f"recorded {first.expected}"
        )
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"problem": main(Path(sys.argv[1]))}))
