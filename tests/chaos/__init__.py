"""Faults under a stream of writes, with a model that knows what must be stored in the end."""
