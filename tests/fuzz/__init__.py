"""Random command lines, files and folders: every command does what was asked for, or refuses it in one line."""
