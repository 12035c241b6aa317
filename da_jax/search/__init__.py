"""A search for hyperparameters, on what is held out of the training set."""
