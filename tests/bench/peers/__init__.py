"""Rivals' two ends, run with their own interpreter: nothing of p2pchat or its tests is imported."""
