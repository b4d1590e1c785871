"""What enforcement means for the traffic of a mesh: calls, DNS queries, forecasts, and suggestions."""
