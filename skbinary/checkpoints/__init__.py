"""Files from which a fit that was killed goes on."""
