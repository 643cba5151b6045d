"""The reference CPM Participating Function: a real server that uses none of the harness."""
