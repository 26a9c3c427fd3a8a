"""What citizens see, correct and take along: their own record, and nothing else."""
