"""The few-step methods beside each other: on a 2-D mixture against the exact map, on images by distances."""
