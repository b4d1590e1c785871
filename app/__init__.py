"""serviceentry-guard: DNS resolution and retries for every Istio ServiceEntry."""
