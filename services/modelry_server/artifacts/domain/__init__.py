"""The rules of artifacts; opens transactions; knows no gRPC and no SQL."""
