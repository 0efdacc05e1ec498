"""What runs beside the model's code: zygote, supervisor and init.

Standard library only, for it also runs in images where turnwise is not installed.
"""
