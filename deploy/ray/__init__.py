"""CyberSolve on a Ray cluster: replicas behind Ray Serve, and bulk files. Needs the extra `ray`."""
