"""A model test of the whole controller: on a simulated API server, with a simulated clock, step by step."""
