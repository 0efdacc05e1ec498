"""What runs beside the model's code: zygote, supervisor, init and resident, from the standard library alone.

    server ──> zygote (imports done) ──fork──> resident (the model's code) and its children
               one a profile, trusted          not trusted; born into the namespaces of an init
                 └─fork─> builder ──fork──> supervisor              trusted; one a session, or for one session after another
                          imports nothing ──fork──> init (pid 1)    trusted; has the namespaces, and ends them
                                          ──fork──> brancher        trusted; makes those of forks, if there are any

A supervisor orders an init of its own from the builder, holds the other end of its control socket, and has the zygote fork a
resident into its namespaces. When the supervisor ends, so does init, and with it all that is in the namespaces.

Where nothing but the standard library is imported, zygote and builder are one, and init forks the resident. Without namespaces
the zygote forks supervisors, a supervisor its init, init the resident.

`boot.py` starts it from these files where turnwise is not installed, such as in a container.
"""
