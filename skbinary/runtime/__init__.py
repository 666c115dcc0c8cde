"""Devices, threads, memory and other settings of the process."""
