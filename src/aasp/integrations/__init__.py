"""Our models where others evaluate: HEAR, X-ARES, MTEB; a file each, none of which imports the suite it serves."""
