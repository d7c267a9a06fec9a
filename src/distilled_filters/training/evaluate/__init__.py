"""`distillery evaluate`: figures, baselines, gates and a report for filters on held-out articles."""

from distilled_filters.training.evaluate.measure import BASELINES, STUDENT, TEACHER, Evaluation, evaluate

__all__ = ["BASELINES", "STUDENT", "TEACHER", "Evaluation", "evaluate"]
