"""Isolated, warm, forkable places where code that a model wrote runs: one session per trajectory.

    SessionSpec -> Sandbox.open -> Session.call(seq, tool, arguments) -> ToolResult

`protocol` has the records and the two protocols, `limits` what a session may use, `profiles` what runs in it; `embedded`,
`bubblewrap`, `docker` and `remote` are the back ends.
"""
