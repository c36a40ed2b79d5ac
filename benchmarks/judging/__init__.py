"""From scores to metrics: views of a pool, one way to judge, comparison of two estimators."""
