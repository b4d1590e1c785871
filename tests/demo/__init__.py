"""The main job on an API server of its own: `make demo`."""
