"""The GuardPolicy: its fields, its defaults, and how it is read."""
