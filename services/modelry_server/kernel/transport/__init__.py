"""gRPC: listening, what happens around every call, calls to other services, errors on the wire."""
