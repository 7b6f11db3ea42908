"""What hosts workers."""
