"""Istio's metrics, read from Prometheus with a few queries, for any number of hosts."""
