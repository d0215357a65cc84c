"""This computer: cores, available memory, and processor time of this process and of others."""
