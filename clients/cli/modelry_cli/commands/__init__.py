"""One file for each command of `modelry`, named as the command."""
