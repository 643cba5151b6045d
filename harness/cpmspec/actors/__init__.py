"""The lower testers: CPM Client, originator, SIP/IP core, message store."""
