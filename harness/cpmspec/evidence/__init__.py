"""What crossed each point of control and observation, and how it is kept."""
