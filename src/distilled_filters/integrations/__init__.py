"""Clean surfaces towards other programs: engines, data frames, and this library's own service."""
