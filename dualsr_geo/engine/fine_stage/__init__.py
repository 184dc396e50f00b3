"""The fine stage of a run: its trial on the Wald pairs and its fit to the scene."""
