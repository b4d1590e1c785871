"""Manifests as people keep them: files of YAML or JSON, read with the place of everything in them, and edited there."""
