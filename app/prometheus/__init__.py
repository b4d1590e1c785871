"""Istio's metrics, read from a Prometheus: a handful of queries, whatever the number of hosts."""
