"""What turns token ids into raw dimensions: a shared backbone and a small head a filter."""
