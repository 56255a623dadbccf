"""The machine and the process: identity, state directory, logs, systemd, pages, report."""
