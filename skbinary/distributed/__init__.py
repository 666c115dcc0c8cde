"""Train on rows that are spread over the processes of a torch process group."""

from skbinary.distributed.fitting import fit

__all__ = ["fit"]
