"""Resources of this computer: cores, available memory, and CPU time of this process and of others."""
