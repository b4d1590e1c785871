"""The rules: pure functions from a policy and ServiceEntries to verdicts and desired objects."""
