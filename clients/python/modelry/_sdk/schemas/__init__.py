"""What a model is given and gives: its signature, inferred and enforced, by MLflow's own code."""
