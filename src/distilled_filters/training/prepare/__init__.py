"""Labelled JSONL to a data folder: rows checked, copies found, splits made, a card written."""

from __future__ import annotations

from distilled_filters.training.prepare.build import Settings, prepare

__all__ = ["Settings", "prepare"]
