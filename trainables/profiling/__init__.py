"""What a training needs and uses: time and memory, measured and estimated."""
