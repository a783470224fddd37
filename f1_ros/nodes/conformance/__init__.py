"""`f1-ros robot conformance` in the running system: what starts it, moves it and watches it."""
