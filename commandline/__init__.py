"""Command lines: numbers within their ranges, mistakes in one line, help with every default."""
