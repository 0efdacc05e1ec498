"""Code: functions to write, functions to mend, models to improve; whatever is submitted runs in a sandbox."""
