"""One match as a state machine over session, endpoints and records. Pure: no clock, no socket, no process."""
