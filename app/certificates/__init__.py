"""The certificates of the webhook: made, kept, renewed, and tried over a fresh connection."""
