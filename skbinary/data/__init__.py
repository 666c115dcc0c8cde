"""From what users pass to rows, targets and weights on a device."""
