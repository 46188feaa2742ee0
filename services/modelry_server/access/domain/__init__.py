"""The rules of access; opens transactions; knows no gRPC and no SQL."""
