"""The scenarios: each module has a title, what it means, and `trials(mesh)`."""
