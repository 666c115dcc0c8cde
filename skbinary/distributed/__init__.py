"""Train on rows that are spread over several processes."""
