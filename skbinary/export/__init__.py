"""Files that other programs read, and files that load without running code.

Each module needs an optional library, which it imports when it is used.
"""
