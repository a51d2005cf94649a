"""The forward pass of a T5 for training: transformers' modules hold the weights, this computes.

Same numbers as transformers' own forward pass, in a form that `torch.compile` fuses well: one
product for queries, keys and values, no caches, no masks where nothing is padded. Everything but
the norms and the loss runs in the type of the embedded input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import T5ForConditionalGeneration

_ROWS_AT_ONCE = 512  # whose logits stay in the cache
_MASKED = -1e4  # added to a score that attention must not see; finite in every type


def encode(t5: T5ForConditionalGeneration, states: Tensor, padded: Tensor) -> Tensor:
    """Encoder states (batch, source, d_model) of embedded tokens; `padded` (batch, source)."""
    stack = t5.encoder
    bias = _position_bias(stack.block[0], states, bidirectional=True)
    bias = bias + padded[:, None, None].to(states.dtype) * _MASKED
    for block in stack.block:
        attention, feed_forward = block.layer
        normed = _norm(states, attention.layer_norm)
        states = states + _self_attention(normed, attention.SelfAttention, bias)
        states = states + _feed_forward(states, feed_forward)
    return _norm(states, stack.final_layer_norm)


def decode(
    t5: T5ForConditionalGeneration, states: Tensor, encoded: Tensor, padded: Tensor
) -> Tensor:
    """Decoder states (batch, target, d_model) of embedded tokens, each seeing those before it."""
    stack = t5.decoder
    length = states.shape[1]
    later = torch.ones(length, length, dtype=torch.bool, device=states.device).triu(1)
    bias = _position_bias(stack.block[0], states, bidirectional=False)
    bias = bias + later.to(states.dtype) * _MASKED
    cross_bias = padded[:, None, None].to(states.dtype) * _MASKED
    for block in stack.block:
        attention, cross, feed_forward = block.layer
        normed = _norm(states, attention.layer_norm)
        states = states + _self_attention(normed, attention.SelfAttention, bias)
        normed = _norm(states, cross.layer_norm)
        states = states + _cross_attention(normed, encoded, cross.EncDecAttention, cross_bias)
        states = states + _feed_forward(states, feed_forward)
    return _norm(states, stack.final_layer_norm)


def _position_bias(block: Any, states: Tensor, *, bidirectional: bool) -> Tensor:
    """Learnt scores by distance, shape (1, heads, length, length)."""
    attention = block.layer[0].SelfAttention
    places = torch.arange(states.shape[1], device=states.device)
    buckets = attention._relative_position_bucket(
        places[None, :] - places[:, None],
        bidirectional=bidirectional,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    table = attention.relative_attention_bias.weight.to(states.dtype)
    scores: Tensor = functional.embedding(buckets, table)
    return scores.permute(2, 0, 1)[None]


def _norm(states: Tensor, norm: Any) -> Tensor:
    full = states.float()
    scale = torch.rsqrt(full.square().mean(-1, keepdim=True) + norm.variance_epsilon)
    normed: Tensor = full * scale * norm.weight
    return normed.to(states.dtype)


def _self_attention(states: Tensor, attention: Any, bias: Tensor) -> Tensor:
    weight = torch.cat([attention.q.weight, attention.k.weight, attention.v.weight])
    mixed = functional.linear(states, weight.to(states.dtype))
    query, key, value = (_heads(part, attention.n_heads) for part in mixed.chunk(3, -1))
    return _attend(query, key, value, bias, attention)


def _cross_attention(states: Tensor, encoded: Tensor, attention: Any, bias: Tensor) -> Tensor:
    query = _heads(
        functional.linear(states, attention.q.weight.to(states.dtype)), attention.n_heads
    )
    weight = torch.cat([attention.k.weight, attention.v.weight]).to(states.dtype)
    mixed = functional.linear(encoded, weight)
    key, value = (_heads(part, attention.n_heads) for part in mixed.chunk(2, -1))
    return _attend(query, key, value, bias, attention)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, attention: Any) -> Tensor:
    scores = query @ key.transpose(-1, -2) + bias
    shares = scores.float().softmax(-1).to(value.dtype)
    seen = (shares @ value).transpose(1, 2).flatten(2)
    return functional.linear(seen, attention.o.weight.to(value.dtype))


def _heads(states: Tensor, heads: int) -> Tensor:
    """(batch, length, heads * d_kv) as (batch, heads, length, d_kv)."""
    batch, length, width = states.shape
    return states.view(batch, length, heads, width // heads).transpose(1, 2)


def _feed_forward(states: Tensor, layer: Any) -> Tensor:
    dense = layer.DenseReluDense
    normed = _norm(states, layer.layer_norm)
    weight = torch.cat([dense.wi_0.weight, dense.wi_1.weight]).to(states.dtype)
    gate, value = functional.linear(normed, weight).chunk(2, -1)
    hidden = functional.gelu(gate, approximate="tanh") * value
    return functional.linear(hidden, dense.wo.weight.to(states.dtype))


def cross_entropy(states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of `targets` (n) under the logits of `states` (n, d_model)."""
    loss: Tensor = _CrossEntropy.apply(states, table, targets)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """Loss and gradient in one pass over blocks of rows, whose logits are never kept."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        grad_states, grad_table = torch.empty_like(states), torch.zeros_like(table).float()
        loss = torch.zeros((), device=states.device)
        for start in range(0, len(states), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            logits = functional.linear(states[rows], table)
            chosen = targets[rows, None]
            normalizer, grad = _softmax(logits)
            loss += (normalizer - logits.gather(-1, chosen).float()).sum()
            grad.scatter_add_(-1, chosen, torch.full_like(chosen, -1, dtype=grad.dtype))
            grad_states[rows] = grad @ table
            grad_table += grad.T @ states[rows]
        ctx.save_for_backward(grad_states, grad_table.to(table.dtype))
        ctx.rows = len(states)
        return loss / len(states)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_states, grad_table = ctx.saved_tensors
        scale = grad / ctx.rows
        return grad_states * scale.to(grad_states.dtype), grad_table * scale, None


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The normalizer of each row (n, 1) in fp32, and the probabilities in the type of `logits`."""
    full = logits.float()
    normalizer = full.logsumexp(-1, keepdim=True)
    return normalizer, (full - normalizer).exp().to(logits.dtype)


def compiled() -> None:
    """Let `torch.compile` fuse what is not a matrix product: a minute or two, then 1.6 times as
    fast. For this process alone.
    """
    for name in ("encode", "decode", "_softmax"):
        globals()[name] = torch.compile(globals()[name], dynamic=True)
