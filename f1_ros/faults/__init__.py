"""Faults on purpose: what can go wrong around the robot, what is to happen then, and whether it does.

    fault.py         what a fault is: how it is made, when it must be noticed, what the robot must do
    catalogue.py     all of them, for a robot profile
    alterations.py   what the relay does to messages on their way
    judge.py         a recorded run against what its fault declares
    system.py        the simulated system with the relay in it
    run.py           `f1-ros faults run`: one fault after the other in the live system
    table.py         the catalogue as docs/faults.md shows it

Nothing in here imports ROS: the relay, and the node that watches, are in `f1_ros.nodes`.
"""
