"""Models as folders in MLflow's format: what `modelry.sklearn`, `modelry.pyfunc` and `modelry.models` share.

`flavor` saves, logs and loads the models of any flavor. `borrowed` imports MLflow's own packaging code, `requirements`
finds what a model needs, `logged` uploads a model to a run, `registering` creates a version from it, `loading`
downloads one to this machine.
"""
