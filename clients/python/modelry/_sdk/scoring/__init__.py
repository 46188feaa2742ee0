"""What predictions are worth: the data, what a model says of it, and the metrics of each kind of model, also of slices.

A metric is a function of the weights of the rows. So one implementation gives its value (weights as given), its value
in a bootstrap sample (weights times how often each row was drawn), and paired differences between two models (the same
draws for both). It needs NumPy only. The tests compare the values with those of scikit-learn and of MLflow.
"""
