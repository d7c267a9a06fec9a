"""What a measured speed depends on: the machine, named for those who read the figure."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["machine"]


def machine() -> str:
    """Name the processor, how many there are, and the platform, as far as the system tells."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux
    return f"{name or 'unknown processor'}, {os.cpu_count()} processors, {platform.system()} {platform.machine()}"
