"""A plugin project, written by `supertau new-estimator`."""
