"""Our models in other evaluation suites: HEAR, X-ARES, MTEB; one file each, none of which imports its suite."""
