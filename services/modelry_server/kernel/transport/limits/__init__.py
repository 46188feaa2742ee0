"""What clients may hold at once: places at work, open streams, calls and answers that wait for their client."""
