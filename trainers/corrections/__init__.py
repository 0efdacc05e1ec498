"""Corrections for samples that another policy drew, one method a file."""
