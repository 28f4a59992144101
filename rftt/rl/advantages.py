"""Advantage estimators: rewards, token KL and the shape of the trees in, per-token (B, T) advantages out.

Pure functions on tensors that know neither the trainer nor the engine. Rows of one question stand together,
`group_size` of them. An estimator sees the batch of all ranks at once.

Process rewards enter every estimator in the same way: what `shaping` credits a token with (`process_BT`) is added to the
token's return, unscaled where an estimator scales the outcome.

Where paths have weights (branch correction), every mean over paths is the weighted one: a baseline is what the policy would
earn, not the search, and weight times advantage adds up to zero. The weights themselves are multiplied on by the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

MIN_VARIANCE = 1e-8  # below it a batch says nothing, and whitening must not blow up rounding errors


@dataclass(frozen=True)
class ScoredBatch:
    """Finished paths with their rewards.

    Args:
        rewards_B: outcome reward of each path, shape (B,).
        kl_BT: log π_old(token) − log π_ref(token), the k1 estimate of the KL to the reference, shape (B, T).
        mask_BT: 1 for tokens that the policy wrote, 0 for padding and for what is left out of the loss, shape (B, T).
        group_size: paths per question; B is a multiple of it.
        beta: weight of the KL, ≥ 0.
        process_BT: process rewards from the token's step to the end of the path, shape (B, T); None for none.
        weight_B: weight of each path, ≥ 0, shape (B,); None where all have the same.
        node_BT: id of the token's node in the tree of its question, the same in all paths that share it; −1 for tokens of a
            path that shares nothing; shape (B, T); None where no path shares anything.

    Raises:
        ValueError: shapes that do not fit.
    """

    rewards_B: torch.Tensor
    kl_BT: torch.Tensor
    mask_BT: torch.Tensor
    group_size: int
    beta: float = 0.0
    process_BT: torch.Tensor | None = None
    node_BT: torch.Tensor | None = None
    weight_B: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.kl_BT.shape != self.mask_BT.shape or self.rewards_B.shape != self.mask_BT.shape[:1]:
            raise ValueError(
                f"rewards {tuple(self.rewards_B.shape)}, KL {tuple(self.kl_BT.shape)} and mask "
                f"{tuple(self.mask_BT.shape)} do not fit: expected (B,), (B, T) and (B, T)"
            )
        if self.weight_B is not None and self.weight_B.shape != self.rewards_B.shape:
            raise ValueError(
                f"weight_B {tuple(self.weight_B.shape)} does not fit the rewards {tuple(self.rewards_B.shape)}"
            )
        for name in ("process_BT", "node_BT"):
            given = getattr(self, name)
            if given is not None and given.shape != self.mask_BT.shape:
                raise ValueError(f"{name} {tuple(given.shape)} does not fit the mask {tuple(self.mask_BT.shape)}")
        if self.group_size < 1 or len(self.rewards_B) % self.group_size:
            raise ValueError(f"group_size {self.group_size} does not divide the batch of {len(self.rewards_B)} paths")

    @property
    def penalty_BT(self) -> torch.Tensor:
        """β · KL of each valid token."""
        return self.beta * self.kl_BT * self.mask_BT

    @property
    def rewards_QG(self) -> torch.Tensor:
        return self.rewards_B.view(-1, self.group_size)

    @property
    def weights_QG(self) -> torch.Tensor:
        """Weights of the paths, 1 where none are given."""
        given = torch.ones_like(self.rewards_B) if self.weight_B is None else self.weight_B.to(self.rewards_B.dtype)
        return given.view(-1, self.group_size)

    @property
    def baseline_Q1(self) -> torch.Tensor:
        """Weighted mean reward of each group, shape (Q, 1); the plain mean of a group whose weights are all 0."""
        if self.weight_B is None:
            return self.rewards_QG.mean(dim=1, keepdim=True)
        weights_QG = self.weights_QG
        weights_QG = torch.where(weights_QG.sum(1, keepdim=True) > 0, weights_QG, torch.ones_like(weights_QG))
        return (weights_QG * self.rewards_QG).sum(1, keepdim=True) / weights_QG.sum(1, keepdim=True)

    def spread(self, advantages_QG: torch.Tensor) -> torch.Tensor:
        """Advantages of paths, given to each of their tokens with its process rewards, (B, T)."""
        process_BT = 0 if self.process_BT is None else self.process_BT
        return (advantages_QG.reshape(-1, 1) + process_BT) * self.mask_BT


def reinforce_plus_plus(batch: ScoredBatch) -> torch.Tensor:
    """REINFORCE++ (RFTT, section 3.3; Hu 2025, arXiv 2501.03262): no critic, returns whitened over the whole batch.

        r_t = −β · kl_t + [t is the path's last token] · R
        G_t = Σ_{s ≥ t} r_s  + process rewards from t on     (γ = 1)
        A_t = (G_t − mean G) / std G                         (over all valid tokens of the batch, population std)

    Mean and std are over tokens with the weights of their paths.

    Returns:
        Advantages, shape (B, T); 0 where the mask is 0.
    """
    mask_BT = batch.mask_BT.to(batch.rewards_B.dtype)
    token_rewards_BT = -batch.penalty_BT + batch.rewards_B[:, None] * _last_token(mask_BT)
    returns_BT = token_rewards_BT.flip(1).cumsum(1).flip(1)
    if batch.process_BT is not None:
        returns_BT = returns_BT + batch.process_BT
    weighted_BT = mask_BT if batch.weight_B is None else mask_BT * batch.weights_QG.reshape(-1, 1)
    count = weighted_BT.sum()
    count = count.clamp(min=1) if batch.weight_B is None else count.clamp(min=MIN_VARIANCE)
    mean = (returns_BT * weighted_BT).sum() / count
    centred_BT = (returns_BT - mean) * mask_BT
    variance = (centred_BT**2 * weighted_BT).sum() / count
    return centred_BT * variance.clamp(min=MIN_VARIANCE).rsqrt()


def grpo(batch: ScoredBatch) -> torch.Tensor:
    """GRPO (Shao et al. 2024, arXiv 2402.03300, section 4.1): rewards normalised within the question's group.

        A_t = (R − mean_group R) / (std_group R + 10⁻⁴)      (sample std, as TRL)

    The KL is no part of it: GRPO has it in the loss.

    Returns:
        Advantages, shape (B, T); 0 where the mask is 0.
    """
    rewards_QG = batch.rewards_QG
    spread_Q1 = rewards_QG.std(dim=1, keepdim=True) if batch.group_size > 1 else torch.zeros_like(rewards_QG)
    if batch.weight_B is not None and batch.group_size > 1:
        # The same with weights of mean 1: the sample std of the group.
        weights_QG = batch.weights_QG / batch.weights_QG.sum(1, keepdim=True).clamp(min=MIN_VARIANCE)
        variance_Q1 = (weights_QG * (rewards_QG - batch.baseline_Q1) ** 2).sum(1, keepdim=True)
        spread_Q1 = (variance_Q1 * batch.group_size / (batch.group_size - 1)).sqrt()
    return batch.spread((rewards_QG - batch.baseline_Q1) / (spread_Q1 + 1e-4))


def dr_grpo(batch: ScoredBatch) -> torch.Tensor:
    """GRPO without the division by the group's spread (Dr. GRPO, Liu et al. 2025, arXiv 2503.20783, section 3.2).

        A_t = R − mean_group R

    Dividing makes questions count for more that are nearly always or nearly never solved. The other half of Dr. GRPO, a loss
    that does not divide by a path's length, is TRL's ``loss_type: dr_grpo``.

    Returns:
        Advantages, shape (B, T); 0 where the mask is 0.
    """
    return batch.spread(batch.rewards_QG - batch.baseline_Q1)


def rloo(batch: ScoredBatch) -> torch.Tensor:
    """RLOO (Ahmadian et al. 2024, arXiv 2402.14740, section 3): the other paths of the group are the baseline.

        R' = R − β · Σ_t kl_t
        A_t = R'_i − mean_{j ≠ i} R'_j

    Returns:
        Advantages, shape (B, T); 0 where the mask is 0.

    Raises:
        ValueError: a group of one path has no others.
    """
    if batch.group_size < 2:
        raise ValueError("rloo needs groups of two paths or more")
    shaped_QG = (batch.rewards_B - batch.penalty_BT.sum(dim=1)).view(-1, batch.group_size)
    if batch.weight_B is None:
        others_QG = (shaped_QG.sum(dim=1, keepdim=True) - shaped_QG) / (batch.group_size - 1)
    else:
        weights_QG = batch.weights_QG
        weighted_QG = weights_QG * shaped_QG
        of_others_QG = (weights_QG.sum(dim=1, keepdim=True) - weights_QG).clamp(min=MIN_VARIANCE)
        others_QG = (weighted_QG.sum(dim=1, keepdim=True) - weighted_QG) / of_others_QG
    return batch.spread(shaped_QG - others_QG)


def tree(batch: ScoredBatch, leaf_weight: bool = False) -> torch.Tensor:
    """Credit by node (TreeRL, Hou et al. 2025, arXiv 2506.11902, section 3.3): global and local advantage of the step.

        V(n) = (weighted) mean R of the paths through n
        A_t = (V(n_t) − V(root)) + (V(n_t) − V(parent of n_t))          n_t: the node that token t belongs to

    A token that several paths share carries the same advantage in each of them. A path that shares nothing is one node below
    the root.

    It differs from TreeRL in this: TreeRL divides a step's advantage by √(number of leaves below it), since a step counts
    once for each path through it, which `leaf_weight` does; its trees fork at the tokens of highest entropy, where these
    fork at functions; and it samples each fork from the policy, where here the search may have chosen (`branches`).

    Args:
        batch: the paths.
        leaf_weight: divide the advantage of a token by the square root of the number of paths that share its node.

    Returns:
        Advantages, shape (B, T); 0 where the mask is 0.
    """
    advantages_BT = torch.zeros_like(batch.kl_BT)
    for group, start in enumerate(range(0, len(batch.rewards_B), batch.group_size)):
        rows = slice(start, start + batch.group_size)
        rewards_G = batch.rewards_B[rows]
        weights_G = None if batch.weight_B is None else batch.weight_B[rows]
        root = batch.baseline_Q1[group, 0]
        if batch.node_BT is None:
            advantages_BT[rows] = 2 * (rewards_G - root)[:, None]
            continue
        node_GT = batch.node_BT[rows]
        values: dict[int, torch.Tensor] = {}
        leaves: dict[int, int] = {}
        for node in node_GT.unique().tolist():
            through_G = (node_GT == node).any(dim=1)
            leaves[node] = int(through_G.sum()) if node >= 0 else 1
            values[node] = _mean(rewards_G[through_G], None if weights_G is None else weights_G[through_G])
        for row, (nodes_T, reward) in enumerate(zip(node_GT, rewards_G, strict=True), start):
            parent = root
            for node in nodes_T.unique_consecutive().tolist():
                value = values[node] if node >= 0 else reward
                share = leaves[node] ** 0.5 if leaf_weight else 1.0
                advantages_BT[row, nodes_T == node] = (value - root + value - parent) / share
                parent = value
    return batch.spread(torch.zeros_like(batch.rewards_QG)) + advantages_BT * batch.mask_BT


def treerl(batch: ScoredBatch) -> torch.Tensor:
    """`tree` with TreeRL's weight by leaves."""
    return tree(batch, leaf_weight=True)


def _mean(rewards_G: torch.Tensor, weights_G: torch.Tensor | None) -> torch.Tensor:
    """Weighted mean; the plain one without weights, or where all are 0."""
    if weights_G is None or not weights_G.any():
        return rewards_G.mean()
    return (rewards_G * weights_G).sum() / weights_G.sum()


def _last_token(mask_BT: torch.Tensor) -> torch.Tensor:
    """1 at the last valid token of each row, shape (B, T); a row without any has none."""
    after_BT = mask_BT.flip(1).cumsum(1).flip(1)  # valid tokens from here on
    return mask_BT * (after_BT == 1)
