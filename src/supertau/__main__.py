"""`python -m supertau` is the command `supertau`."""

from supertau.benchmarks.cli import main

if __name__ == "__main__":
    main()
