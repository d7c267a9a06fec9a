"""From labelled articles to checkpoints; needs the extra `[train]`.

May import the core; the core never imports this package.
"""
