"""The rules of tracking; opens transactions; knows no gRPC and no SQL."""
