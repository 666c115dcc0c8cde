"""Latency, memory and start of a process that serves predictions."""
