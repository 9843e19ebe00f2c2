"""Faults by the thousand: a real server, fake drivers, clients that remember, and an oracle outside them all.

`plan` has seeds and sizes, `client` speaks HTTP, `history` is what clients know, `traffic` the clients,
`world` the server that is killed and started again, `oracle` what must hold, `points` and `rounds` the kills.
The rows of the fault matrix are the files `test_r*.py`; `tests/faults/README.md` lists them.
"""
