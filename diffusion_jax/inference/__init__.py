"""A trained run opened again: samples of any number, files of them, pictures, distances and bits/dim."""
