"""Engines and data frames: articles in their tables get columns of scores.

One module an engine, each thin over `batches`; none is imported before it is asked for,
and each needs the extra of its name.
"""
