"""The review of files, of pipelines, and as a KRM function."""
