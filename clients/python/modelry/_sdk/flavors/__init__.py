"""How models of the frameworks that log their fits themselves are saved: one module each, with its `save_model`."""
