"""Models as folders in MLflow's format: what `modelry.sklearn`, `modelry.pyfunc` and `modelry.models` share.

`flavor` saves, logs and loads the models of any flavor. `logged` uploads a model to a run, `registering` creates a
version from it, `loading` downloads one to this machine, `judging` reads its files with limits before anything is run.
"""
