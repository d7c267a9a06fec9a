"""Where a language model runs, in which precision, and whether it fits (extra `[lora]`)."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from distilled_filters.errors import NotEnoughMemoryError, SettingError
from distilled_filters.scorers.base import DEVICE_VARIABLE, PRECISION_VARIABLE

__all__ = ["Placement", "check_memory", "place"]

# Bytes a parameter takes; four bits come with scales.
_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "4bit": 0.6}
# What activations and the runtime take beside the weights.
_OVERHEAD = 1.15


@dataclass(frozen=True)
class Placement:
    """A device and the precision of the weights on it."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return {"fp32": torch.float32, "fp16": torch.float16}.get(self.precision, torch.bfloat16)


def place(device: str | None = None, precision: str | None = None) -> Placement:
    """Return where a model runs: what is asked for, else the environment's wish, else what is there.

    A GPU computes in bf16, or in fp16 where it has no bf16; a processor in fp32.

    Raises:
        SettingError: for a device that is not there, or a precision that it does not compute in.
    """
    chosen = _device(device or os.environ.get(DEVICE_VARIABLE) or None)
    wanted = precision or os.environ.get(PRECISION_VARIABLE) or _default(chosen)
    if wanted not in _BYTES:
        raise SettingError(f"no precision {wanted!r}; known: {', '.join(_BYTES)}")
    if wanted == "fp16" and chosen.type == "cpu":
        raise SettingError("fp16 on a processor is slow and overflows in language models; use fp32 or bf16")
    if wanted == "4bit":
        if chosen.type != "cuda":
            raise SettingError(f"4bit needs an NVIDIA GPU, not {chosen.type}; use fp32 or bf16")
        if importlib.util.find_spec("bitsandbytes") is None:
            raise SettingError("4bit needs bitsandbytes; install it with: pip install bitsandbytes")
    return Placement(chosen, wanted)


def check_memory(parameters: int, placement: Placement, name: str) -> None:
    """Refuse a model before it is loaded where its weights would not fit.

    Raises:
        NotEnoughMemoryError: with what it takes and what is free.
    """
    needed = parameters * _BYTES[placement.precision] * _OVERHEAD
    free = _free_memory(placement.device)
    if free is not None and needed > free:
        raise NotEnoughMemoryError(
            f"{name} takes about {needed / 1e9:.1f} GB in {placement.precision} on {placement.device}, "
            f"where {free / 1e9:.1f} GB are free; choose a lower precision, another device or a smaller model"
        )


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"no device {name!r}; name one such as cpu, cuda, cuda:1 or mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if not there.get(device.type, False) or (device.index or 0) >= (torch.cuda.device_count() or 1):
        raise SettingError(f"this machine, or this build of torch, has no device {name!r}; use cpu")
    return device


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())


def _default(device: torch.device) -> str:
    if device.type == "cpu":
        return "fp32"
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp16"


def _free_memory(device: torch.device) -> float | None:
    """Return free bytes; None where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    found = [free for free in (_free_of_machine(), _free_of_cgroup(Path("/sys/fs/cgroup"))) if free is not None]
    return min(found) if found else None


def _free_of_machine() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None  # not Linux
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _free_of_cgroup(folder: Path) -> float | None:
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return None if limit == "max" else float(limit) - float(used)
    except (OSError, ValueError):
        return None
