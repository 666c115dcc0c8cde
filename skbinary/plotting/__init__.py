"""Displays of losses, thresholds and searches."""
