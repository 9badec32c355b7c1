"""What a search will take, before it starts: draws of its space, measured steps, and what follows from them."""
