"""Corpora in and out: records from files, scores into files, and runs that survive a crash.

`sources` reads, `scoring` scores, `formats` writes, `parts` makes a long run resumable.
"""
