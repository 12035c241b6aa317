"""From a command line and a config file to what training is given."""
