"""Filters behind HTTP: a bounded queue before the same panels that Python callers use. Needs the extra `[serve]`."""
