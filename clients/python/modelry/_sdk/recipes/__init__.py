"""The frameworks whose fits are observed: a recipe for each says what is logged of a fit."""
