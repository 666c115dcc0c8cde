"""skorch's and scikit-learn's callbacks, and what early stopping monitors."""
