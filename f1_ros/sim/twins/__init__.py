"""MuJoCo twins of robots with two arms: Genie-1's upper body at a table, and LIFT II at a moving belt."""
