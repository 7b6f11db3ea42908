"""Results in other formats than the one that the model's process has written."""
