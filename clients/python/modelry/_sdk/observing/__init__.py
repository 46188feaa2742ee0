"""What a run records of itself: who ran what and where, from which code, and what it took of the machine."""
