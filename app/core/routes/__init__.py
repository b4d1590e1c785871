"""From all ServiceEntries to the VirtualServices and DestinationRules that must exist, and to the changes."""
