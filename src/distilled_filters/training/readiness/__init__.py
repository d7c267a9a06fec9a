"""Is this data worth training on? Facts, checks, a rubric of 35 points, and a page that shows them."""

from __future__ import annotations

from distilled_filters.training.readiness.assessment import Assessment, assess

__all__ = ["Assessment", "assess"]
