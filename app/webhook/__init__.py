"""The admission webhook: reviews over TLS in, one pure call, answers out."""
