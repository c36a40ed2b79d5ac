"""How well do one-shot NAS estimators rank architectures? The front door of the suite."""
