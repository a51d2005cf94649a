"""Where engines run, apart from the event loop: in a thread or in a process of their own."""
