"""PRIP: prompt refinement with an image pivot (Zhan et al., ACL 2024, arXiv 2407.00247).

A preference encoder E imagines the picture that a user's prompt is after, as a few vectors (the pivot); a prompt
decoder D says which prompt makes the system draw it. `docs/prip.md` states what the paper leaves open and what is done.
"""
