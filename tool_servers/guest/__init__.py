"""What runs beside the model's code: zygote, supervisor, init and resident, from the standard library alone.

    server ──> zygote (imports done) ──fork──> supervisor ──> init (pid 1) ──> resident (the model's code) and its children
               one a profile, trusted          one a session    trusted          not trusted

`boot.py` starts it from these files where turnwise is not installed, such as in a container.
"""
