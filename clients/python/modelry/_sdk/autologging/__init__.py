"""Autologging: fits of frameworks that log themselves.

`switch` turns frameworks on and off, `patching` puts wrappers in place, `fits` runs one observed fit, `models` keeps
and logs what was fitted, `plots` draws. Each framework is a module of `recipes`, which has `modelry.autolog` too.

To add a framework:

1. Write a module in `recipes` with a recipe, a class with `flavor`, `before(fit, call)` and `after(fit, call, result)`.
   `before` logs params and may add a callback to `call.kwargs`, which logs metrics with `fit.run.log_metric` while the
   fit runs. `after` logs what is known then. What takes long goes to `fit.later(what, job, files=…)`, and works on
   `models.Snapshot(model)`, since the training code goes on with the model itself. Whatever raises becomes a warning.
2. Write `wanted(module)`, which yields a `Replacement(owner, name, fits.observed(recipe, options_of(name)))` for each
   function that fits. It is asked for each module of the framework, and imports nothing.
3. Make a `Framework` of it, add that to `recipes.frameworks`, and an `autolog` to the public module of the flavor.
4. Add a fit to `tests/families/<family>/autologged.py`, and run it to renew the table in docs/autologging.md.

The module of a framework imports the framework inside functions only, since it may not be there.
"""
