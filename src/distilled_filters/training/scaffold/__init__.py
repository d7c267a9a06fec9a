"""A new filter's folder before there is anything to train: spec, prompt, checklist; needs no extra."""

from distilled_filters.training.scaffold.draft import Draft, LookAlike, draft_problem, pattern_lens
from distilled_filters.training.scaffold.write import seal, write_filter

__all__ = ["Draft", "LookAlike", "draft_problem", "pattern_lens", "seal", "write_filter"]
