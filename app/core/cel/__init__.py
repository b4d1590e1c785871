"""The rules once more, as expressions that the API server evaluates: the admission policies."""
