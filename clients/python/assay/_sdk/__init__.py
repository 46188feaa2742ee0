"""The implementation of the SDK. Private: only what `assay.__all__` names is promised."""
