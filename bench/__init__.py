"""Measurements of what ships; each ends in one line of JSON."""
