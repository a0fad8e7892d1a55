"""Everything that can befall the processes, the connections and the server, all at once (PROTOCOL 8, X01-X14)."""
