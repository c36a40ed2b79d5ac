"""One run, from a configuration to a record; resumable."""
