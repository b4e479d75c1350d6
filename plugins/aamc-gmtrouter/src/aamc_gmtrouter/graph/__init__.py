"""The graph part: a heterogeneous graph transformer over a user's rated turns."""
