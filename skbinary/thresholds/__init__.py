"""Objectives for the decision threshold, and the choice of the best threshold."""
