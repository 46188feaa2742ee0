"""The way to a server: settings, the state of the process, connections, retries, errors."""
