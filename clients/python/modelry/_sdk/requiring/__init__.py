"""What a model needs to run: its packages and its own code, and what stands in the way of storing it."""
