"""Where code that was written for MLflow looks for its client: `from modelry.tracking import MlflowClient`."""

from modelry._sdk.fluent.mlflow_client import MlflowClient

__all__ = ["MlflowClient"]
