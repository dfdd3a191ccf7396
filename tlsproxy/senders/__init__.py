"""Who may send: reverse DNS, HELO, SPF, and the headers that tell of them; pure, the look-up is a parameter."""
