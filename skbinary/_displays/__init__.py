"""Pictures: losses over epochs, metrics over the threshold, the scores of a search."""
