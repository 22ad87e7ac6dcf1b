"""Everything that `refundry up` needs: the supervisor, its child processes, the embedded PostgreSQL, the HTTP server."""
