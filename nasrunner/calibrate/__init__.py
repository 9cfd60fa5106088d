"""The command ``nasrunner-calibrate``: how cheap rankings of children agree with the full one."""
