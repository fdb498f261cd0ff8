"""The whole job: from a checkpoint and a class's name to an edited, evaluated, saved model."""
