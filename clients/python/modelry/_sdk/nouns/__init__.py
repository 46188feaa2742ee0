"""One typed method for each rpc, a file for each noun."""
