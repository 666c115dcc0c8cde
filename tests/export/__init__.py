"""Tests of skbinary.export."""
