"""Files the suite can use but does not ship: what there is, how to fetch it, whether it is right."""
