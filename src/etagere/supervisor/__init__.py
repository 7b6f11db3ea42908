"""One attempt, one process: started from a warm process, limited, watched and killed."""
