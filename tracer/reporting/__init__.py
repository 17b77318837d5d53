"""What people look at: the report, its charts and pictures, the tables of results."""
