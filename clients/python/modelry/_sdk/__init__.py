"""The implementation of the SDK. Private: only what `modelry.__all__` names is promised."""
