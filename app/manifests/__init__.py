"""Manifests in files of YAML or JSON: read with the position of each value, and edited in place."""
