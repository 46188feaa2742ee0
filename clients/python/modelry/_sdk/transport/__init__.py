"""The connection to a server: settings, channels, errors, forks."""
