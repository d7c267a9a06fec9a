"""Which articles to have labelled next: strategies, pools, and simulations on labelled data."""
