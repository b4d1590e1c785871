"""Metrics, logs and traces of both processes."""
