"""What durability costs: `make bench`. Every figure stands beside a baseline from the same run."""
