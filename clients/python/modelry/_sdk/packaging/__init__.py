"""Models as folders in MLflow's format: what `modelry.sklearn`, `modelry.pyfunc` and `modelry.models` share.

`borrowed` imports MLflow's own packaging code, `requirements` finds what a model needs, `logged` brings a model into a
run and the registry, `loading` brings one to this machine.
"""
