"""The contenders: skbinary and its peers, with the same settings."""
