"""Parts of tools/bench: processes pinned to a core, the proxies, the load, what is measured, and the report."""
