"""Certificates for development, and examples for a cluster."""
