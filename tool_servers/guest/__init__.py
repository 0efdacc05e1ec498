"""What runs beside the model's code: zygote, supervisor, init and resident, from the standard library alone.

    server ──> zygote (imports done) ──fork──> supervisor           trusted; one a session, or for one session after another
               one a profile, trusted  ──fork──> init (pid 1) ──fork──> resident (the model's code) and its children
                                                 trusted                not trusted

A supervisor orders an init of its own from the zygote and holds the other end of its control socket: when it ends, so does init,
and with it all that is in init's namespaces. Without namespaces init is the supervisor's child.

`boot.py` starts it from these files where turnwise is not installed, such as in a container.
"""
