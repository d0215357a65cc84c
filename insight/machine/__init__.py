"""What this computer is doing: processor time of this process and of the others."""
