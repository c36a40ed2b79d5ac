"""DARTS cells, the space of NAS-Bench-301: encoding and text forms, the space, networks and ground truth."""
