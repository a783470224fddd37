"""A MuJoCo FR3 at a conveyor belt: world, cameras, scripted expert, demonstrations and evaluation."""
