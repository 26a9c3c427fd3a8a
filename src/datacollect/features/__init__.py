"""The slices: one folder for each capability, with the same file names in each (docs/explanation/architecture.md)."""
