"""The admission webhook: AdmissionReviews over TLS in, one pure call, responses out."""
