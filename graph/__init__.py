"""The LangGraph state machine: its state, nodes and routing. It knows the loop's shape and nothing else."""
