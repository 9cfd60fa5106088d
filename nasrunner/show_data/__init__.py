"""The command ``nasrunner-data``: what children will see of a data set."""
