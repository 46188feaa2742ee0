"""Contract in, entities to the domain, contract out."""
