"""The controller: it observes objects, decides for each key, and writes."""
