"""The building's own rules, those that no linter sees. A failing test here says which rule, and where."""
