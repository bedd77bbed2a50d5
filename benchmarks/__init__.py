"""Scripts that measure brushup and hold it against others; run as files, imported by their tests alone."""
