"""Linear models and networks: architecture, parameters, logits and gradients."""
