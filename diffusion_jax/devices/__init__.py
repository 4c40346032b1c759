"""Meshes of devices, and several processes as one program."""
