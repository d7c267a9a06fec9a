"""Corpora in and out: records from files, scores into files, and runs that survive a crash.

`sources` reads, `scoring` (by threads), `workers` (by processes) or `engines` (by clusters) score, `formats`
writes, `parts` makes a long `run` resumable.
"""
