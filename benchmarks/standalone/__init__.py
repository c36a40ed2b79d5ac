"""Stand-alone training of architectures, and ground-truth tables made by it."""
