"""What a run of reconcile decides: from what is seen to all that it would write, with nothing written yet."""
