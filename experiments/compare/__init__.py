"""`brushup compare`: what is compared, the runs, what each would have recommended on the way, and the tables."""
