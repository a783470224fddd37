"""Recording a running robot: from its messages to a LeRobot dataset, by their stamps alone."""
