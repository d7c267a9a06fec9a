"""`python -m distilled_filters` is `distillery`."""

from distilled_filters.cli import main

if __name__ == "__main__":
    main()
