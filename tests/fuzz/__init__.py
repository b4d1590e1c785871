"""Fuzzing of everything that the product reads: documents that are almost valid, in bytes."""
