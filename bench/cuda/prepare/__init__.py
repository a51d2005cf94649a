"""Files that engines read, made by processes of their own."""
