"""A stand-in for LIBERO and as much of robosuite as the simulator process asks for, so that it can be tested alone.

The tool goes where it is told, up to its limits; the task is done when it has gone 12 cm up with the gripper closed.
"""
