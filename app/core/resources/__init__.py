"""Kubernetes objects as the rules read them: ServiceEntries, and the hosts, durations, days and globs in them."""
