"""The rules of the registry; opens transactions; knows no gRPC and no SQL."""
