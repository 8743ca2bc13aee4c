"""From a module to a library: tasks, the pipeline, kernels, workspace memory."""
