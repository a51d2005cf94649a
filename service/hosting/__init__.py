"""Run engines outside the event loop: in a thread or in a process of their own."""
