"""The pytest plug-in: the lab, the cases' interface, the recording of verdicts."""
