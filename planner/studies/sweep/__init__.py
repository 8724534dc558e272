"""What-if tables: the points of a grid of scenarios, each with its best plan or with one that is given."""
