"""Options of one role: named rules list them, the costs price them, dominance drops what cannot matter."""
