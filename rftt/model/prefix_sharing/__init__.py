"""Rows that begin alike, computed once: `pack` lays them out, `attention` lets each token see its own row alone, `scoring`
gives every row its log-probs back, `exact` says for which models this is right but for rounding.

Paths of a tree share their beginnings, and all rollouts of a question share its prompt. Padded rows compute such tokens once
a row; here they are computed once.
"""
