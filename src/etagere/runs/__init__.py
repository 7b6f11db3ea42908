"""Where runs are queued and counted."""
