"""From memory to the server in the background: never blocks training, never loses what was logged."""
