"""How a ranking is judged: images, metrics, runs, records, reports, command line."""
