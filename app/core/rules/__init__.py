"""The verdict on one ServiceEntry: the catalogue of findings, the decision table, exemptions, and overrides."""
