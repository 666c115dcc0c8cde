"""Searches over parameters that train candidates in batches."""
