"""Import paths of readers until version 0.1. Use `hydromae.datasets`."""
