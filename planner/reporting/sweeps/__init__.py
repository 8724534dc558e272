"""What-if tables as text, as files and as pictures."""
