"""The command line: one file per subcommand; each only translates between the shell and a verb of the suite."""

from supertau.benchmarks.cli.app import main

__all__ = ["main"]
