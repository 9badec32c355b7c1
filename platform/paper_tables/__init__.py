"""The papers' tables: their rows, the trainings that reproduce them, and their results next to the printed numbers."""
