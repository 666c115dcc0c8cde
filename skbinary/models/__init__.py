"""Linear models and networks: their shape, parameters, logits and gradients."""
