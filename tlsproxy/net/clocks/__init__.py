"""What is late, and what idles: one timer of the loop for all of them, not one each."""
