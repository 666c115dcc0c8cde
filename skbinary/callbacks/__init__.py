"""Callbacks of skorch and scikit-learn, verbose output, and the quantity to monitor."""
