"""Pages and service resources."""
