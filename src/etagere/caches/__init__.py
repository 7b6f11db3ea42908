"""Where finished results are kept."""
