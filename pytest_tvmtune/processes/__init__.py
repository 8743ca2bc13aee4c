"""Jobs in processes of their own: server, forks, interpreters, shared arrays. No tvm."""
