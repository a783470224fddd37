"""The LIBERO benchmark: real tasks in LIBERO's own simulator, driven by a policy that runs here.

    this process: engine, policy.py, evaluate.py ── client.py ══ wire.py ══ simulator.py: LIBERO, in its own environment

LIBERO needs other versions of MuJoCo and of much else, so it lives in a virtual environment of its own (`make libero`).
`layout.py`, `wire.py` and `simulator.py` run there: they import nothing but numpy, LIBERO and `f1_ros.errors`.
"""
