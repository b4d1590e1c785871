"""The controller: what it observes, what it decides for each key, and what it writes."""
