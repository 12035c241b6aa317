"""Pictures that compare students with their teacher, by matplotlib (extra `plots`)."""
