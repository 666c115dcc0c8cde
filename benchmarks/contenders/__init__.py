"""Who is measured: skbinary and its peers, each with the same work."""
