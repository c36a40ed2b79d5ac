"""How supernets are trained and scored: the pieces that the methods share."""
