"""Asking language models to judge articles; needs the extra `[oracle]`, and neither torch nor scikit-learn.

`client` asks one question and never pays for it twice; everything that talks to a model
stands on it. `label` is the loop over articles.
"""
