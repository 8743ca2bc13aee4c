"""Jobs in other processes: server, forks, interpreters, shared arrays. No tvm."""
