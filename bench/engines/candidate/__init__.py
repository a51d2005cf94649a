"""The process of one engine, which measures it on demand; only it imports baselines' packages."""
