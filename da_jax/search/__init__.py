"""Hyperparameter search, evaluated on examples held out of the training set."""
