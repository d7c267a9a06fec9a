"""Clean surfaces towards other programs: engines, data frames, and this library's own service.

Engines and frames are thin over `batches`: articles in their tables get columns of scores. None is
imported before it is asked for, and each needs the extra of its name.
"""
