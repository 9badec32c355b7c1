"""The papers' tables: which there are, the trainings that reproduce their rows, and the numbers beside the printed."""
