"""The SQL tool: SQLite and DuckDB in a sandboxed worker, and a grader that cannot be fooled."""
