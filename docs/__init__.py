"""Documentation, and the script that writes the generated pages."""
