"""The failure and its repair in a real mesh: istiod, Envoy with real interception, and upstreams that misbehave."""
