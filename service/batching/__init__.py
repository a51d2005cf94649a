"""What waits, what runs next, and who gets which answer."""
