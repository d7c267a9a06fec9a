"""From labelled articles to checkpoints; needs the extra `[train]`.

May import the core; the core never imports this package.
"""

import os

# Busy-waiting OpenMP barriers make torch many times slower beside any other process; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
